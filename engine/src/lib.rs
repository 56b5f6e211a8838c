//! One Kanon node: its configuration, store, catalog, sessions, releases and peers.
//!
//! ```text
//! pg-frontend ─┐                   ┌─ Open      rows may leave            → DataFusion streams them
//! flight-server├─► session::Session ─ Release   only aggregates may leave → release (here) or federation (at the sites)
//!              ┘                   └─ Refusal   a reason and a hint, no data touched
//! ```
//!
//! [`session::Session`] is the only door for frontends; nothing else in this crate hands out rows.

pub mod audit;
pub mod auth;
pub(crate) mod brakes;
pub mod catalog;
pub mod config;
mod difference;
pub mod error;
pub mod federation;
pub mod functions;
pub mod fuzz;
pub mod ledger;
pub mod limits;
mod nearest;
pub mod node;
pub(crate) mod peers;
pub mod pg_catalog;
pub mod principal;
pub mod release;
pub mod session;
pub mod statement;
pub mod store;
pub mod system;
pub mod tls;
