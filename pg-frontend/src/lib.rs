//! The pg-frontend crate.
