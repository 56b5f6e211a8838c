//! What business intelligence tools ask of tables of every access: Superset itself, where it is, and the statements of others.
//!
//! `scripts/clients` gets Superset. What is not there is skipped, loudly, unless KANON_TESTS_MAY_SKIP is 0.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that cannot go on ends"
)]

mod grafana;
mod statements;
mod superset;
mod world;
