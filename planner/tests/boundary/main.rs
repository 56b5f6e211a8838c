//! Golden plans of the boundary: every shape with the boundary drawn in, every refusal with its words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod golden;
mod intervals;
mod known;
mod private;
mod random;
mod registries;
mod rules;
mod split;
mod totality;
mod world;
