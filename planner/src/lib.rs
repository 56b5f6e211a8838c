//! Decides what of a query may cross a site's boundary, from plans and policies alone: no I/O, no clock, no randomness.
//!
//! ```text
//! analysed plan ─► boundary::decide ─┬─ Decision::Open     rows may leave
//!                                    ├─ Decision::Release  an outer plan over release units
//!                                    └─ Refusal            a reason and a hint
//! ```

// The tests of this crate share their tables with those in `tests/`, which know it by its name.
#[cfg(test)]
extern crate self as kanon_planner;

mod arguments;
pub mod boundary;
mod bucket_quantile;
pub mod checked;
mod conditions;
pub mod constants;
pub mod explain;
pub mod facts;
pub mod functions;
pub mod intervals;
pub mod merge;
pub mod parts;
pub mod private;
pub mod refusal;
pub mod release_unit;
pub mod split;
mod total;
pub mod width_bucket;
