//! Aggregates over open federated tables give what one query engine gives over the union of the parts.
//!
//! The same generated queries are asked in process (subplans run on one part each, answers merged) and of four real nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod compare;
mod data;
mod in_process;
mod nodes;
mod queries;
