//! The `kanon` program.
fn main() {}
