//! Releases over small tables, against examples and against a slow oracle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod attacks;
mod examples;
mod oracle;
mod random;
mod sets;
mod units;
