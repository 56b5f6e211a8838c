//! Rules 1 and 4 in numbers.

/// Degrees of freedom that a variance or a correlation needs.
pub const DEGREES_OF_FREEDOM: u64 = 10;

/// Most distinct combinations of conditions in one group; a group with more is not tested further, and withheld.
pub const MAX_PARTS: usize = 4_096;

/// Whether a statistic of second moments over `rows` rows that estimates one mean per argument leaves enough degrees of freedom.
pub fn has_degrees_of_freedom(rows: u64, arguments: usize) -> bool {
    rows >= DEGREES_OF_FREEDOM.saturating_add(arguments as u64)
}
