//! Values on an integer grid, so that sums are exact and do not depend on order.
//!
//! A column with declared bounds [L, U] gets a [`Grid`]: a step, and for every value a whole number of steps, a [`Tick`]. Everything that is
//! summed is an integer: the tick itself, the tick less the middle (*centred*), its square, the product of two. What one row can add is
//! then bounded by integers too, and the bound holds exactly: no rounding ever leads beyond it.
//!
//! # The step
//! The step is a power of two, 2^e, so that a float is brought on the grid by shifting its mantissa, without an error but that of
//! one rounding to the nearest step. With w = U − L and B = max(|L|, |U|),
//!
//! ```text
//! e = max(⌊log₂ w⌋ − 36, ⌊log₂ B⌋ − 64)
//! ```
//!
//! - w is at least 2^36 steps (or the step is finer than the floats of size B are apart, and every value is exact). The rounding of N rows adds at most
//!   N·w·2^-37 to a sum: less than the half-width of noise for ε = 1, which is above w, up to 10^11 rows.
//! - A half-width is at most 2^36 + 2 steps and a tick at most 2^65, so 2^40 rows, weighted in units of 2^-10, add up to less than 2^126: no i128
//!   overflows, for squares and products neither.
//! - For an integer column e is also at least 0, or −1 if w is odd (the middle must lie on the grid too): then every value is exact
//!   where the rule above allows, which is up to w = 2^36.
//!
//! L and U are rounded like values. Rounding keeps order, so what lies between them lies between their ticks; an odd number of steps across
//! gets one more. So the bounds are wider than declared by at most two steps, 2^-35 of w, and the middle of the grid is used as the middle.

/// Steps across the bounds: at least 2^36, as an exponent.
const STEPS: i32 = 36;
/// Ticks are at most 2^65, as an exponent plus one.
const TICKS: i32 = 64;
/// Bounds of floats lie within 2^±480, so that squares and sums of them are finite.
const RANGE: i32 = 480;

/// Bounds that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum GridError {
    /// A bound that is not a finite number, or a lower one that is not below the upper one.
    #[error("bounds must be two finite numbers, the lower one first, not {0} and {1}")]
    Bounds(f64, f64),
    /// Squares of such numbers are not numbers any more.
    #[error("bounds must be of size 1e144 at most, and 1e-144 apart at least, not {0} and {1}")]
    Range(f64, f64),
}

/// A value in steps. Made by a [`Grid`], and read with the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(i128);

/// The grid of a column with declared bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    lower: f64,
    upper: f64,
    integers: Option<(i64, i64)>,
    exponent: i32,
    low: i128,
    half: i128,
}

impl Grid {
    /// The grid of a column of floats with these bounds.
    pub fn new(lower: f64, upper: f64) -> Result<Grid, GridError> {
        if !lower.is_finite() || !upper.is_finite() || lower >= upper {
            return Err(GridError::Bounds(lower, upper));
        }
        let (size, width) = (lower.abs().max(upper.abs()), upper - lower);
        if !width.is_finite() || floor_log2(size) >= RANGE || floor_log2(width) < -RANGE {
            return Err(GridError::Range(lower, upper));
        }
        let exponent = (floor_log2(width) - STEPS).max(floor_log2(size) - TICKS);
        let (low, high) = (shift(decode(lower), exponent), shift(decode(upper), exponent));
        Ok(Grid { lower, upper, integers: None, exponent, low, half: half_of(low, high) })
    }

    /// The grid of a column of integers with these bounds: exact where the bounds are at most 2^36 apart.
    pub fn integers(lower: i64, upper: i64) -> Result<Grid, GridError> {
        let (l, u) = (lower as f64, upper as f64);
        if lower >= upper {
            return Err(GridError::Bounds(l, u));
        }
        let width = i128::from(upper) - i128::from(lower);
        let size = u128::from(lower.unsigned_abs().max(upper.unsigned_abs()));
        let log2 = |n: u128| i32::try_from(n.checked_ilog2().unwrap_or(0)).unwrap_or(0);
        let exact = if width % 2 == 0 { 0 } else { -1 };
        let exponent = (log2(width.unsigned_abs()) - STEPS).max(log2(size) - TICKS).max(exact);
        let low = shift((i128::from(lower), 0), exponent);
        let high = shift((i128::from(upper), 0), exponent);
        Ok(Grid { lower: l, upper: u, integers: Some((lower, upper)), exponent, low, half: half_of(low, high) })
    }

    /// The tick of a float, clamped to the bounds: ±Inf clamps, NaN is no value.
    #[inline]
    pub fn tick(&self, value: f64) -> Option<Tick> {
        if value.is_nan() {
            return None;
        }
        let clamped = value.clamp(self.lower, self.upper);
        Some(self.inside(steps(clamped, self.exponent)))
    }

    /// The tick of an integer, clamped to the bounds. On a grid of floats it is taken as a float.
    #[inline]
    pub fn tick_of_integer(&self, value: i64) -> Tick {
        let exact = match self.integers {
            Some((lower, upper)) => (i128::from(value.max(lower).min(upper)), 0),
            None => decode((value as f64).max(self.lower).min(self.upper)),
        };
        self.inside(shift(exact, self.exponent))
    }

    #[inline]
    fn inside(&self, ticks: i128) -> Tick {
        Tick(ticks.clamp(self.low, self.low + 2 * self.half))
    }

    /// What a row adds to the plain sum, in steps: at most [`Grid::largest`] either way.
    #[inline]
    pub fn raw(&self, tick: Tick) -> i128 {
        self.inside(tick.0).0
    }

    /// What a row adds to the centred sum, in steps: at most [`Grid::half`] either way.
    #[inline]
    pub fn centred(&self, tick: Tick) -> i128 {
        self.raw(tick) - self.low - self.half
    }

    /// What rows with these values add to the centred sum: [`Grid::centred`] of every [`Grid::tick`], and 0 for NaN.
    pub fn centred_floats(&self, values: &[f64]) -> Vec<i64> {
        /// Added to a float of at most 2^51, it leaves the nearest whole number in the lower bits.
        const ROUND: f64 = 6_755_399_441_055_744.0;
        let (low, high) = (self.low as f64, (self.low + 2 * self.half) as f64);
        let (lower, upper, middle, half) = (self.lower, self.upper, self.middle() as f64, self.half as f64);
        if low.abs().max(high.abs()) > 2f64.powi(50) || self.exponent.abs() > 1_000 {
            let centred = |x: &f64| self.tick(*x).map_or(0, |tick| self.centred(tick));
            return values.iter().map(|x| i64::try_from(centred(x)).unwrap_or(0)).collect();
        }
        let steps = power_of_two(-self.exponent);
        // Comparisons that are no calls and no jumps, so that several are done at once. NaN is the lower bound at first.
        let within = |x: f64, low: f64, high: f64| {
            let x = if x > low { x } else { low };
            if x < high { x } else { high }
        };
        // Ticks are small enough for every line to be exact but the first, which rounds where it makes no difference: far below half a step.
        let each = |x: &f64| {
            let ticks = within(*x, lower, upper) * steps;
            let even = (ticks + ROUND) - ROUND;
            let half_up = if ticks - even == 0.5 { 1.0 } else { 0.0 };
            let centred = within(even + half_up - middle, -half, half);
            let centred = if x.is_nan() { 0.0 } else { centred };
            (centred + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i64
        };
        values.iter().map(each).collect()
    }

    /// What rows with these values add to the centred sum: [`Grid::centred`] of every [`Grid::tick_of_integer`].
    pub fn centred_integers(&self, values: &[i64]) -> Vec<i64> {
        let small = |ticks: i128| i64::try_from(ticks).ok().filter(|ticks| ticks.abs() < 1 << 61);
        match (self.integers, small(self.low), small(self.low + self.half)) {
            (Some((lower, upper)), Some(_), Some(middle)) if matches!(self.exponent, -1 | 0) => {
                let doubled = -self.exponent;
                values.iter().map(|x| ((*x).max(lower).min(upper) << doubled) - middle).collect()
            }
            _ => {
                let centred = |x: &i64| self.centred(self.tick_of_integer(*x));
                values.iter().map(|x| i64::try_from(centred(x)).unwrap_or(0)).collect()
            }
        }
    }

    /// What a row adds to the second moment, in squares of steps: the centred square less w²/8, at most [`Grid::square_bound`] either way.
    #[inline]
    pub fn square(&self, tick: Tick) -> i128 {
        let centred = self.centred(tick);
        centred * centred - self.square_middle()
    }

    /// What a row adds to the product with another column, in steps of one times steps of the other: at most the product of the halves.
    #[inline]
    pub fn product(&self, tick: Tick, other: &Grid, of_other: Tick) -> i128 {
        self.centred(tick) * other.centred(of_other)
    }

    /// Half the width in steps.
    pub fn half(&self) -> u128 {
        self.half.unsigned_abs()
    }

    /// B = max(|L|, |U|) in steps.
    pub fn largest(&self) -> u128 {
        self.low.unsigned_abs().max((self.low + 2 * self.half).unsigned_abs())
    }

    /// The largest centred square less w²/8, either way: w²/8, rounded up.
    pub fn square_bound(&self) -> u128 {
        (self.half * self.half - self.square_middle()).unsigned_abs()
    }

    /// w²/8 in squares of steps, rounded down: what [`Grid::square`] subtracts.
    pub fn square_middle(&self) -> i128 {
        self.half * self.half / 2
    }

    /// The middle of the bounds in steps.
    pub fn middle(&self) -> i128 {
        self.low + self.half
    }

    /// The size of a step in the column's own unit.
    pub fn step(&self) -> f64 {
        power_of_two(self.exponent)
    }

    /// The least tick.
    pub(crate) fn lowest(&self) -> i128 {
        self.low
    }

    /// Whether every second tick is an integer of a column of integers.
    pub(crate) fn has_half_integers(&self) -> bool {
        self.integers.is_some() && self.exponent < 0
    }

    /// So many ticks as an integer within the bounds, the next lower one if they are between two. None on a grid of floats.
    pub(crate) fn integer(&self, ticks: i128) -> Option<i64> {
        let (lower, upper) = self.integers?;
        let integer = if self.exponent < 0 { ticks >> 1 } else { ticks << self.exponent.min(32) };
        i64::try_from(integer.clamp(i128::from(lower), i128::from(upper))).ok()
    }

    /// So many ticks in the column's own unit, within the bounds.
    pub(crate) fn value(&self, ticks: i128) -> f64 {
        (ticks as f64 * self.step()).clamp(self.lower, self.upper)
    }

    /// The declared lower bound.
    pub fn lower(&self) -> f64 {
        self.lower
    }

    /// The declared upper bound.
    pub fn upper(&self) -> f64 {
        self.upper
    }
}

/// Half the steps between two ticks; an odd number gets one more, so that the middle lies on the grid.
fn half_of(low: i128, high: i128) -> i128 {
    (high - low + 1) / 2
}

/// A finite float as a whole number times a power of two.
#[inline]
fn decode(value: f64) -> (i128, i32) {
    let bits = value.to_bits();
    let field = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    let fraction = i128::from(bits & ((1 << 52) - 1));
    let magnitude = if field == 0 { fraction } else { fraction | (1 << 52) };
    (if value < 0.0 { -magnitude } else { magnitude }, field.max(1) - 1075)
}

/// A finite float in steps of `2^exponent`, as [`shift`] has it.
#[inline]
fn steps(value: f64, exponent: i32) -> i128 {
    let (mantissa, power) = decode(value);
    let by = exponent - power;
    match i64::try_from(mantissa) {
        // The rule: a mantissa has 53 bits, so nothing overflows.
        Ok(mantissa) if (1..=62).contains(&by) => i128::from((mantissa + (1 << (by - 1))) >> by),
        _ => shift((mantissa, power), exponent),
    }
}

/// `mantissa · 2^power` in steps of `2^exponent`, rounded to the nearest step, halves up. Bounded by the choice of the step, so it fits.
#[inline]
fn shift((mantissa, power): (i128, i32), exponent: i32) -> i128 {
    let by = power - exponent;
    if mantissa == 0 {
        return 0;
    }
    if by >= 0 {
        return mantissa << by.min(74);
    }
    // A mantissa has at most 63 bits: beyond 64 places nothing is left of it.
    let by = (-by).min(66);
    (mantissa + (1 << (by - 1))) >> by
}

/// ⌊log₂⌋ of a positive finite float; subnormal ones count as the smallest normal.
fn floor_log2(value: f64) -> i32 {
    i32::try_from((value.to_bits() >> 52) & 0x7ff).unwrap_or(0) - 1023
}

/// Exact for the exponents that a grid can have.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(u64::try_from(exponent + 1023).unwrap_or(0) << 52)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The value in the middle of which a tick lies.
    fn value(grid: &Grid, tick: Tick) -> f64 {
        grid.raw(tick) as f64 * grid.step()
    }

    fn within_bounds(grid: &Grid, tick: Tick) {
        assert!(grid.centred(tick).unsigned_abs() <= grid.half());
        assert!(grid.raw(tick).unsigned_abs() <= grid.largest());
        assert!(grid.square(tick).unsigned_abs() <= grid.square_bound());
        assert!(grid.product(tick, grid, tick).unsigned_abs() <= grid.half() * grid.half());
    }

    #[test]
    fn bounds_are_two_finite_numbers_in_order() {
        for (l, u) in
            [(0.0, 0.0), (1.0, 0.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (f64::NEG_INFINITY, 0.0), (0.0, -0.0)]
        {
            assert!(matches!(Grid::new(l, u), Err(GridError::Bounds(..))), "{l} {u}");
        }
        for (l, u) in [(-1e200, 1e200), (0.0, 1e-200), (f64::MIN, f64::MAX), (0.0, 5e-324)] {
            assert!(matches!(Grid::new(l, u), Err(GridError::Range(..))), "{l} {u}");
        }
        assert!(Grid::integers(3, 3).is_err());
    }

    #[test]
    fn infinities_clamp_and_nan_is_no_value() {
        let grid = Grid::new(-1.0, 3.0).unwrap();
        assert_eq!(grid.tick(f64::INFINITY), grid.tick(3.0));
        assert_eq!(grid.tick(f64::NEG_INFINITY), grid.tick(-1.0));
        assert_eq!(grid.tick(f64::NAN), None);
        assert_eq!(grid.centred(grid.tick(f64::INFINITY).unwrap()), grid.half);
        assert_eq!(grid.centred(grid.tick(f64::NEG_INFINITY).unwrap()), -grid.half);
        assert_eq!(grid.centred(grid.tick(1.0).unwrap()), 0);
    }

    #[test]
    fn integers_are_exact() {
        for (l, u) in [(0, 1), (0, 100), (-7, 90), (i64::MAX - 9, i64::MAX), (i64::MIN, i64::MIN + 3), (0, 1 << 36)] {
            let grid = Grid::integers(l, u).unwrap();
            for x in [l, l + 1, u - 1, u] {
                let exact = 2 * i128::from(x) - i128::from(l) - i128::from(u);
                let steps_of_half = (1.0 / grid.step()) as i128; // 1 or 2
                assert_eq!(2 * grid.centred(grid.tick_of_integer(x)), exact * steps_of_half, "{x} in [{l}, {u}]");
            }
            assert_eq!(grid.half(), ((i128::from(u) - i128::from(l)) as u128) * (1.0 / grid.step()) as u128 / 2);
        }
        // A flag has two values, and noise of the size of half.
        let flag = Grid::integers(0, 1).unwrap();
        assert_eq!((flag.half(), flag.step()), (1, 0.5));
        within_bounds(&Grid::integers(i64::MIN, i64::MAX).unwrap(), Grid::integers(0, 1).unwrap().tick_of_integer(5));
    }

    #[test]
    fn sums_of_two_to_the_forty_rows_fit() {
        for (l, u) in
            [(-1.0, 1.0), (1e15, 1e15 + 0.125), (-1e140, 1e140), (0.0, 1.0 - f64::EPSILON), (1.0, 1.0 + f64::EPSILON)]
        {
            let grid = Grid::new(l, u).unwrap();
            for bound in [grid.largest(), grid.square_bound(), grid.half() * grid.half()] {
                assert!(bound < 1 << 76, "{l} {u}: {bound}");
            }
            assert!(grid.half() <= (1 << 36) + 2);
        }
    }

    #[test]
    fn integers_on_a_grid_of_floats() {
        let grid = Grid::new(0.5, 10.5).unwrap();
        for (x, as_float) in [(0, 0.5), (3, 3.0), (i64::MAX, 10.5)] {
            assert_eq!(Some(grid.tick_of_integer(x)), grid.tick(as_float));
        }
    }

    proptest! {
        #[test]
        fn never_beyond_the_bound_and_off_by_at_most_half_a_step(
            a in prop::num::f64::NORMAL, b in prop::num::f64::ANY, x in prop::num::f64::ANY, t in 0.0..=1.0f64, near in any::<bool>(),
        ) {
            let b = if near { a + a * b.abs().min(1e-9) } else { b };
            let Ok(grid) = Grid::new(a.min(b), a.max(b)) else { return Ok(()) };
            for x in [x, a, b, a + (b - a) * t, a.next_up(), a.next_down(), b.next_up(), b.next_down()] {
                let Some(tick) = grid.tick(x) else { prop_assert!(x.is_nan()); continue };
                within_bounds(&grid, tick);
                let clamped = x.clamp(grid.lower, grid.upper);
                prop_assert_eq!(steps(clamped, grid.exponent), shift(decode(clamped), grid.exponent));
                // A ulp for the subtraction in the test itself.
                prop_assert!((value(&grid, tick) - clamped).abs() <= grid.step() * 0.5 + clamped.abs() * f64::EPSILON);
                prop_assert!(grid.step() <= (grid.upper - grid.lower) * (-36f64).exp2() || value(&grid, tick) == clamped);
            }
            prop_assert!(grid.half() as f64 * grid.step() * 2.0 <= (grid.upper - grid.lower) * (1.0 + (-34f64).exp2()) + 3.0 * grid.step());
        }

        #[test]
        fn many_at_once_are_as_one_by_one(
            a in prop::num::f64::NORMAL, width in 0.0..20.0f64, others in any::<[f64; 4]>(), t in 0.0..=1.0f64, i in any::<[i64; 3]>(), halves in any::<[i32; 8]>(),
        ) {
            for (lower, upper) in [(a, a + a.abs() * width), (0.0, width), (-1e3 * width, 1.0), (a % 1e9, a % 1e9 + width)] {
                let Ok(grid) = Grid::new(lower, upper) else { continue };
                let mut values = vec![lower, upper, lower + (upper - lower) * t, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 5e-324];
                values.extend(others);
                // Between two steps, just, and a bit to the side.
                for half in halves {
                    let between = (grid.middle() as f64 + f64::from(half) + 0.5) * grid.step();
                    values.extend([between, between.next_up(), between.next_down()]);
                }
                let one_by_one: Vec<i64> = values.iter().map(|x| grid.tick(*x).map_or(0, |tick| grid.centred(tick) as i64)).collect();
                prop_assert_eq!(grid.centred_floats(&values), one_by_one);
            }
            let [x, y, z] = i;
            for (lower, upper) in [(x.min(y), x.max(y)), (x % 1000, x % 1000 + y.rem_euclid(1000) + 1), (i64::MAX - 9, i64::MAX), (i64::MIN, i64::MIN + 3)] {
                let Ok(grid) = Grid::integers(lower, upper) else { continue };
                let values = [x, y, z, lower, upper, 0, lower.saturating_add(1), z % 1000];
                let one_by_one: Vec<i64> = values.iter().map(|x| grid.centred(grid.tick_of_integer(*x)) as i64).collect();
                prop_assert_eq!(grid.centred_integers(&values), one_by_one);
            }
        }

        #[test]
        fn integers_never_beyond_the_bound(a in any::<i64>(), b in any::<i64>(), x in any::<i64>(), narrow in any::<bool>()) {
            let b = if narrow { a.saturating_add(b % 1000) } else { b };
            let Ok(grid) = Grid::integers(a.min(b), a.max(b)) else { return Ok(()) };
            for x in [x, a, b] {
                let tick = grid.tick_of_integer(x);
                within_bounds(&grid, tick);
                let clamped = x.clamp(a.min(b), a.max(b));
                let step_doubled = (2.0 * grid.step()) as i128;
                let error_doubled = (grid.raw(tick) * step_doubled - 2 * i128::from(clamped)).abs();
                prop_assert!(2 * error_doubled <= step_doubled, "{error_doubled}");
            }
        }

        #[test]
        fn order_is_kept(a in -1e6..1e6f64, b in -1e6..1e6f64, x in -2e6..2e6f64, y in -2e6..2e6f64) {
            let Ok(grid) = Grid::new(a.min(b), a.max(b)) else { return Ok(()) };
            prop_assert!(grid.tick(x.min(y)) <= grid.tick(x.max(y)));
        }
    }
}
