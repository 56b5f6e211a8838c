//! Real clients against real nodes: psql, the drivers of Python, Java, ODBC, Node.js and R, and what is built on them; and PostgreSQL 15
//! beside them, which says what they are used to.
//!
//! `scripts/clients` gets them. What is not there is skipped, loudly, unless KANON_TESTS_MAY_SKIP is 0.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that cannot go on ends"
)]

mod copy;
mod drivers;
mod psql;
mod tls;
mod world;
