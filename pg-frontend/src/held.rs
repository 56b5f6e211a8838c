//! What a connection holds by name, bounded in number and bytes.

use std::collections::HashMap;

use kanon_engine::error::{Error, Result, Sqlstate};

/// Something that takes memory.
pub trait Weight {
    /// Of what the client sent to make it.
    fn bytes(&self) -> usize;
}

/// Statements or portals by name. The unnamed one has the empty name; it always has its place.
pub struct Held<T> {
    what: &'static str,
    most: usize,
    most_mib: usize,
    by_name: HashMap<String, T>,
    /// Of all but the unnamed one.
    bytes: usize,
}

impl<T: Weight> Held<T> {
    /// Nothing yet; at most so many, of so many MiB together.
    pub fn new(what: &'static str, most: usize, most_mib: usize) -> Held<T> {
        Held { what, most, most_mib, by_name: HashMap::new(), bytes: 0 }
    }

    /// By its name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.by_name.get(name)
    }

    /// Whether one of this name and weight may be put in.
    ///
    /// # Errors
    /// 54001 beyond a bound.
    pub fn has_room(&self, name: &str, bytes: usize) -> Result<()> {
        if name.is_empty() {
            return Ok(());
        }
        let beyond = |limit: String| {
            Error::new(Sqlstate::StatementTooComplex, format!("a connection can hold at most {limit} {}", self.what))
        };
        let named = self.by_name.len() - usize::from(self.by_name.contains_key(""));
        if named >= self.most {
            return Err(beyond(self.most.to_string()));
        }
        if self.bytes.saturating_add(bytes) > self.most_mib << 20 {
            return Err(beyond(format!("{} MiB of", self.most_mib)));
        }
        Ok(())
    }

    /// Puts one in, in the place of another of its name.
    pub fn insert(&mut self, name: String, value: T) {
        drop(self.remove(&name));
        if !name.is_empty() {
            self.bytes += value.bytes();
        }
        self.by_name.insert(name, value);
    }

    /// Takes one out.
    pub fn remove(&mut self, name: &str) -> Option<T> {
        let value = self.by_name.remove(name)?;
        if !name.is_empty() {
            self.bytes -= value.bytes();
        }
        Some(value)
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.by_name.clear();
        self.bytes = 0;
    }
}
