//! What a site promises about the people in its tables, as pure functions and types: no I/O, no clock, no randomness.
//!
//! - [`policy`]: the rules a steward sets for a table and its columns.

pub mod policy;
