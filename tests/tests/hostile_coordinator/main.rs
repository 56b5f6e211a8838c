//! A coordinator that means no good, in a process of its own, with a key that the site pins: what it asks is refused with the right words and written down, costs nothing, and the site
//! answers an honest coordinator as before and holds no more memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

mod connections;
mod descriptors;
mod tickets;
mod world;
