//! What a site promises about the people in its tables, as pure functions and types: no I/O, no clock; randomness comes in as an argument.
//!
//! - [`policy`]: the rules a steward sets for a table and its columns.
//! - [`budget`]: ε, δ and ρ; [`accounts`]: what was spent, by basic composition and by zCDP.
//! - [`noise`]: exact discrete Laplace and Gaussian noise, its calibration and its intervals.
//! - [`select`]: which keys may be told.
//! - [`ranks`]: quantiles and robust extremes; [`exponential`]: the mechanism that chooses them.
//! - [`cohort`], [`evidence`]: the units behind a number, and the parts of them that must hold nobody or at least k (rule 1).
//! - [`overlaps`]: what follows from three or more conditions together (rule 1).
//! - [`complement`]: what is withheld must not follow from what is released (rule 2).
//! - [`dominance`], [`rules`]: the two largest units of a sum (rule 3), degrees of freedom (rule 4).
//!
//! and for private access:
//! - [`statistics`]: which base statistics the aggregates of a release need, each once.
//! - [`grid`]: values as whole steps between declared bounds, so that sums are exact.
//! - [`bounding`]: which groups and rows of a unit are kept when it has more than its bounds.
//! - [`sensitivity`]: how far a statistic moves with one unit, and the weights that keep it from moving further.
//! - [`norms`]: the norm of that weight, where it is chosen privately.
//! - [`division`]: the part of ε that each statistic gets.
//! - [`noisy`]: a statistic with noise, and how far it can be off.
//! - [`finalise`]: from noisy statistics to SQL's answers, with intervals; [`expected`]: how wide those will be.
//! - [`exact`]: numbers that are written down and read again to the last bit.
//!
//! ```text
//! exact statistics of every group ─► rule 1, 3, 4: which cells could stand alone ─► complement::protect ─► which are released
//! rows ─► bounding, grid ─► exact statistics ─► noise, a part of ε each ─► noisy ─► finalise ─► answers with intervals
//! ```

pub mod accounts;
pub mod bounding;
pub mod budget;
pub mod cohort;
pub mod complement;
pub mod division;
pub mod dominance;
pub mod evidence;
pub mod exact;
pub mod expected;
pub mod exponential;
pub mod finalise;
pub mod grid;
pub mod noise;
pub mod noisy;
pub mod norms;
pub mod overlaps;
pub mod policy;
pub mod ranks;
mod rounding;
pub mod rules;
pub mod select;
pub mod sensitivity;
pub mod statistics;
