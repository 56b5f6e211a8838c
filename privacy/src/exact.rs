//! Numbers that are written down and read again to the last bit.
//!
//! JSON's readers may be off by the last bit (serde_json is, unless it is built otherwise), and an ε that is a little more or less is another question: it would be
//! charged anew. So these are written as text, the shortest that Rust reads as the same number; numbers are read too. All are finite.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// A finite number as it is written down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exact(pub f64);

/// Never NaN, so equality is total.
impl Eq for Exact {}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Exact, D::Error> {
        deserializer.deserialize_any(Number)
    }
}

struct Number;

impl Visitor<'_> for Number {
    type Value = Exact;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Exact, E> {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        number.map(Exact).ok_or_else(|| E::custom("not a number"))
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<Exact, E> {
        Ok(Exact(number))
    }
    #[allow(clippy::cast_precision_loss, reason = "the nearest number there is")]
    fn visit_i64<E: Error>(self, number: i64) -> Result<Exact, E> {
        Ok(Exact(number as f64))
    }
    #[allow(clippy::cast_precision_loss, reason = "the nearest number there is")]
    fn visit_u64<E: Error>(self, number: u64) -> Result<Exact, E> {
        Ok(Exact(number as f64))
    }
}

/// For fields that are a number or nothing: `#[serde(with = "kanon_privacy::exact::option")]`.
pub mod option {
    use super::{Deserialize, Deserializer, Exact, Serialize, Serializer};

    /// Writes it.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Exact).serialize(serializer)
    }

    /// Reads it.
    ///
    /// # Errors
    /// If it is no number.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<Exact>::deserialize(deserializer)?.map(|Exact(number)| number))
    }
}
