//! The flight-server crate.
