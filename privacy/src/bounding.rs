//! Which groups, rows and distinct values of a unit are kept, when it has more than the bounds allow.
//!
//! The choice is a sample by a keyed hash: everything that a unit has gets an [`Order`], and the smallest are kept. An order is a
//! function of the site's key, the unit, the content and a number among equal rows. So the choice is the same whatever the order of
//! rows and however they are partitioned, and it does not depend on any other unit: removing a unit changes nothing about what is kept of
//! the others, without which no sensitivity would hold. That a sensitivity holds does not depend on the hash at all. The hash decides that the
//! sample is fair, and the key that nobody who can write rows can choose which of them count.
//!
//! ```text
//! rows of a unit ─► Kept groups: the C smallest by UnitOrder::group
//!                       └─► in each, Kept rows: the m smallest by UnitOrder::row
//!                               └─► their values, Kept: the d smallest by UnitOrder::value
//! ```
//!
//! # The hash
//! SipHash-2-4 with 128 bits (Aumasson and Bernstein 2012), a pseudorandom function made for short inputs under a secret key: about 20 ns a row.
//! HMAC-SHA-256, which `ring` has, is ten times that, a row of every protected query; BLAKE3 keyed is between the two and much more code. Crate
//! `siphasher` is the one that the workspace has already, without dependencies. No hash is ever released, so 128 bits are plenty.

use std::fmt;
use std::hash::Hasher;
use std::num::NonZeroU32;

use siphasher::sip128::{Hasher128, SipHasher24};

/// The secret of a site that decides what is sampled. Made at random once, and kept: with another key other rows count.
#[derive(Clone)]
pub struct SiteKey([u8; 16]);

impl SiteKey {
    /// A key of 128 random bits.
    pub fn new(random: [u8; 16]) -> SiteKey {
        SiteKey(random)
    }

    /// The orders of what this unit has.
    pub fn unit(&self, unit: &[u8]) -> UnitOrder {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        part(&mut hasher, unit);
        UnitOrder(hasher)
    }

    /// A name of a unit of 128 bits, for telling units apart: two have the same one less often than memory fails.
    pub fn name(&self, unit: &[u8]) -> u128 {
        self.unit(unit).order(b'n', &[], &[], 0).0
    }
}

impl fmt::Debug for SiteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SiteKey(..)")
    }
}

/// Gives what a unit has its order.
#[derive(Clone)]
pub struct UnitOrder(SipHasher24);

/// A place in the order of what a unit has: the smallest are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order(u128);

impl UnitOrder {
    /// The order of a group, from the bytes of its key.
    pub fn group(&self, group: &[u8]) -> Order {
        self.order(b'g', group, &[], 0)
    }

    /// The order of a row in a group. `content` is all of the row that the release reads; of equal rows the first has number 0, the next 1:
    /// they are interchangeable, so it does not matter which is which.
    pub fn row(&self, group: &[u8], content: &[u8], duplicate: u64) -> Order {
        self.order(b'r', group, content, duplicate)
    }

    /// The order of a distinct value in a group. `argument` tells the arguments of a release apart.
    pub fn value(&self, group: &[u8], argument: u32, value: &[u8]) -> Order {
        self.order(b'v', group, value, u64::from(argument))
    }

    /// Every part with its length, so that no two inputs are one text.
    fn order(&self, kind: u8, group: &[u8], content: &[u8], number: u64) -> Order {
        let mut hasher = self.0;
        part(&mut hasher, &[kind]);
        part(&mut hasher, group);
        part(&mut hasher, content);
        hasher.write(&number.to_le_bytes());
        Order(hasher.finish128().as_u128())
    }
}

fn part(hasher: &mut SipHasher24, bytes: &[u8]) {
    hasher.write(&(bytes.len() as u64).to_le_bytes());
    hasher.write(bytes);
}

/// What is kept of one unit: the smallest by order, at most a given number, each with a state of its own. Bounded, and exact all the same:
/// what was pushed out once is larger than all that is kept from then on, so it cannot come back with half a state.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept<K, T> {
    most: NonZeroU32,
    kept: Vec<(Order, K, T)>,
    cut: bool,
}

impl<K: Ord, T> Kept<K, T> {
    /// Keeps at most this many.
    pub fn at_most(most: NonZeroU32) -> Self {
        Kept { most, kept: Vec::new(), cut: false }
    }

    /// The state of what has this order, made if it is new; None if it is not kept. Equal orders of different keys are told apart by key.
    pub fn offer(&mut self, order: Order, key: K, new: impl FnOnce() -> T) -> Option<&mut T> {
        let place = match self.find(order, &key) {
            Ok(place) => place,
            Err(place) => {
                if self.kept.len() >= self.most.get() as usize {
                    self.cut = true;
                    if place >= self.kept.len() {
                        return None;
                    }
                    self.kept.pop();
                }
                self.kept.insert(place, (order, key, new()));
                place
            }
        };
        self.kept.get_mut(place).map(|(_, _, state)| state)
    }

    /// Joins what is kept of the same unit elsewhere, in another partition; states of the same thing are joined by `join`.
    pub fn absorb(&mut self, other: Kept<K, T>, mut join: impl FnMut(&mut T, T)) {
        self.cut |= other.cut;
        for (order, key, state) in other.kept {
            match self.find(order, &key) {
                Ok(place) => {
                    if let Some((_, _, mine)) = self.kept.get_mut(place) {
                        join(mine, state);
                    }
                }
                Err(_) => {
                    self.offer(order, key, || state);
                }
            }
        }
    }

    fn find(&self, order: Order, key: &K) -> Result<usize, usize> {
        self.kept.binary_search_by(|(o, k, _)| o.cmp(&order).then_with(|| k.cmp(key)))
    }

    /// What is kept, by order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &T)> {
        self.kept.iter().map(|(_, key, state)| (key, state))
    }

    /// What is kept, by order.
    pub fn into_entries(self) -> impl Iterator<Item = (K, T)> {
        self.kept.into_iter().map(|(_, key, state)| (key, state))
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether anything was offered that is not kept.
    pub fn is_cut(&self) -> bool {
        self.cut
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> SiteKey {
        SiteKey::new(*b"a site's own key")
    }

    fn most(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    #[test]
    fn every_part_of_the_input_counts() {
        let unit = key().unit(b"ada");
        let orders = [
            unit.group(b""),
            unit.group(b"a"),
            unit.row(b"a", b"", 0),
            unit.row(b"a", b"", 1),
            unit.row(b"", b"a", 0),
            unit.row(b"ab", b"c", 0),
            unit.row(b"a", b"bc", 0),
            unit.value(b"a", 0, b"bc"),
            unit.value(b"a", 1, b"bc"),
            Order(key().name(b"ada")),
            Order(key().name(b"bob")),
            key().unit(b"bob").group(b"a"),
            key().unit(b"").group(b"a"),
            SiteKey::new([0; 16]).unit(b"ada").group(b"a"),
        ];
        let mut distinct = orders.to_vec();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), orders.len());
        assert_eq!(unit.row(b"a", b"x", 3), key().unit(b"ada").row(b"a", b"x", 3));
    }

    #[test]
    fn the_choice_of_a_site_does_not_change_with_a_version_of_this_program() {
        let bytes = b"\x03\0\0\0\0\0\0\0ada\x01\0\0\0\0\0\0\0g\x01\0\0\0\0\0\0\0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        let at_once = SipHasher24::new_with_key(b"a site's own key").hash(bytes);
        assert_eq!(key().unit(b"ada").group(b"a"), Order(at_once.as_u128()));
        assert_eq!(at_once.as_u128(), 163_940_265_347_921_854_785_915_668_149_749_481_901);
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", key()), "SiteKey(..)");
    }

    #[test]
    fn the_sample_is_fair() {
        // Of ten groups every unit keeps two: each group is kept by about a fifth of the units.
        let mut counts = [0f64; 10];
        let units = 20_000u32;
        for unit in 0..units {
            let order = key().unit(&unit.to_le_bytes());
            let mut kept = Kept::at_most(most(2));
            for group in 0..10u8 {
                kept.offer(order.group(&[group]), group, || ());
            }
            kept.iter().for_each(|(group, ())| counts[*group as usize] += 1.0);
        }
        let expected = f64::from(units) / 5.0;
        let chi_square: f64 = counts.iter().map(|n| (n - expected).powi(2) / expected).sum();
        assert!(chi_square < 28.0, "{chi_square} with 9 degrees of freedom");
    }

    #[test]
    fn equal_orders_are_told_apart() {
        let mut kept = Kept::at_most(most(2));
        for (key, add) in [("a", 1), ("b", 10), ("a", 1)] {
            *kept.offer(Order(7), key, || 0).unwrap() += add;
        }
        assert_eq!(kept.into_entries().collect::<Vec<_>>(), [("a", 2), ("b", 10)]);
    }

    proptest! {
        /// Streaming, in any order and any partition, is the same as sorting everything.
        #[test]
        fn the_smallest_are_kept_with_whole_states(
            offers in prop::collection::vec((0u8..12, 1u64..100, 0usize..3), 0..60), at_most in 1u32..6, turn in any::<prop::sample::Index>(),
        ) {
            let order = key().unit(b"ada");
            let mut exact: std::collections::BTreeMap<(Order, u8), u64> = Default::default();
            for (group, add, _) in &offers {
                *exact.entry((order.group(&[*group]), *group)).or_default() += add;
            }
            let groups = exact.len();
            let exact: Vec<(u8, u64)> = exact.into_iter().take(at_most as usize).map(|((_, g), n)| (g, n)).collect();
            let mut offers = offers;
            if !offers.is_empty() {
                let by = turn.index(offers.len());
                offers.rotate_left(by);
            }
            let mut parts = vec![Kept::at_most(most(at_most)); 3];
            for (group, add, partition) in offers {
                if let Some(state) = parts[partition].offer(order.group(&[group]), group, || 0u64) {
                    *state += add;
                }
            }
            let mut whole = parts.pop().unwrap();
            parts.into_iter().for_each(|part| whole.absorb(part, |mine, theirs| *mine += theirs));
            prop_assert_eq!(whole.is_cut(), groups > at_most as usize);
            prop_assert_eq!(whole.into_entries().collect::<Vec<_>>(), exact);
        }
    }
}
