//! `inet`: an address and the length of its network's prefix, as text in the one form that PostgreSQL prints.

use std::net::IpAddr;

use super::{Answer, Row, Spec, Takes, Value, strict};
use crate::error::{Error, Sqlstate};

pub(super) const SPECS: &[Spec] = &[
    strict("kanon_inet", &[Takes::Text], Answer::Inet, |row| {
        let text = row.text(0)?;
        normal(text).map(Value::Text).ok_or_else(|| {
            let message = format!("invalid input syntax for type inet: \"{text}\"");
            Error::new(Sqlstate::InvalidTextRepresentation, message)
        })
    }),
    strict("kanon_inet_key", &[Takes::Text], Answer::Bytes, |row| Ok(of(row).map_or(Value::Null, key))),
    // Texts always say the prefix.
    strict("kanon_inet_text", &[Takes::Text], Answer::Text, |row| {
        Ok(of(row).map_or(Value::Null, |of| Value::Text(format!("{}/{}", of.address, of.prefix))))
    }),
];

/// An address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inet {
    /// The whole of it, with what is behind the prefix.
    pub address: IpAddr,
    /// The bits of the network: 32 or 128 for one address alone.
    pub prefix: u8,
}

impl Inet {
    /// Reads `10.0.0.1`, `10.0.0.0/8`, `::1`; `None` for what is none.
    pub fn read(text: &str) -> Option<Inet> {
        let (address, prefix) = match text.trim_ascii().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.trim_ascii(), None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
            None => most,
        };
        (prefix <= most).then_some(Inet { address, prefix })
    }

    /// The bytes of the address.
    pub fn octets(&self) -> Vec<u8> {
        match self.address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        }
    }
}

fn of(row: &Row<'_>) -> Option<Inet> {
    Inet::read(row.text(0).ok()?)
}

pub(super) fn normal(text: &str) -> Option<String> {
    let of = Inet::read(text)?;
    let most = if of.address.is_ipv4() { 32 } else { 128 };
    Some(if of.prefix == most { of.address.to_string() } else { format!("{}/{}", of.address, of.prefix) })
}

/// Bytes in PostgreSQL's order: version 4 before 6; then the networks; of one network the wider first, and then by address.
fn key(of: Inet) -> Value {
    let octets = of.octets();
    let mut out = vec![u8::from(of.address.is_ipv6())];
    for (place, octet) in octets.iter().enumerate() {
        let kept = usize::from(of.prefix).saturating_sub(place * 8).min(8);
        out.push(if kept == 0 { 0 } else { octet & (0xff << (8 - kept)) });
    }
    out.push(of.prefix);
    out.extend(octets);
    Value::Bytes(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_ordered_as_in_postgresql() {
        for (text, shown) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("10.0.0.1/32", Some("10.0.0.1")),
            ("10.1.2.3/8", Some("10.1.2.3/8")),
            ("::1", Some("::1")),
            ("2001:DB8::1/64", Some("2001:db8::1/64")),
            ("10.0.0", None),
            ("10.0.0.1/33", None),
            ("10.0.0.1/+8", None),
            ("x", None),
        ] {
            assert_eq!(normal(text).as_deref(), shown, "{text}");
        }
        let key = |text: &str| match key(Inet::read(text).unwrap()) {
            Value::Bytes(bytes) => bytes,
            _ => panic!("no bytes"),
        };
        // In the order that PostgreSQL 15 sorts them.
        let sorted = ["9.9.9.9", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.1", "10.1.2.3/8", "::1", "::2"];
        let mut keys: Vec<(Vec<u8>, &str)> = sorted.iter().map(|text| (key(text), *text)).collect();
        keys.sort();
        let expected = ["9.9.9.9", "10.0.0.0/8", "10.1.2.3/8", "10.0.0.0/24", "10.0.0.1", "::1", "::2"];
        assert_eq!(keys.iter().map(|(_, text)| *text).collect::<Vec<_>>(), expected);
    }
}
