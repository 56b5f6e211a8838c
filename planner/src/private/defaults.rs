//! What bounds a unit's part where its steward set nothing: there is always a bound.

use std::num::NonZeroU32;

/// C: the groups that a unit counts in.
pub const GROUPS: NonZeroU32 = at_least_one(4);
/// C where units are scaled down to a norm that is chosen privately: the least of this and the number of keys.
pub const PUBLIC_GROUPS: NonZeroU32 = at_least_one(16);
/// Where keys are not public: over how many of them a unit's rows are taken to spread. It decides what part of ε the choice of a norm has, and no guarantee.
pub const SPREAD: NonZeroU32 = at_least_one(16);
/// m: the rows of a unit that count in a group.
pub const ROWS: NonZeroU32 = at_least_one(8);
/// d: the distinct values of a unit that count in a group.
pub const DISTINCT: NonZeroU32 = at_least_one(8);

const fn at_least_one(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}
