//! The protocol over real sockets, in front of DataFusion.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod client;
mod encode;
mod house;
mod raw;
