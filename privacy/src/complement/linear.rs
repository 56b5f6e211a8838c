//! Sparse elimination modulo 2^61 − 1, with a record of which equations made each row.
//!
//! Coefficients of cells over atoms are 0 and 1. What follows over the rationals follows modulo a prime unless the prime divides a
//! minor of the matrix; with 2^61 − 1 that takes numbers no answer of bounded size comes near by accident.

use super::work::{Spent, Work};

const P: u64 = (1 << 61) - 1;

/// A sparse vector: ascending index, coefficient in 1..P.
pub(super) type Sparse = Vec<(u32, u64)>;

/// Rows in reduced echelon form.
#[derive(Debug, Default)]
pub(super) struct Echelon {
    rows: Vec<Row>,
}

/// One row of the reduced system and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// What is known: this combination of columns.
    pub(super) vector: Sparse,
    /// From which equations: index of the equation, coefficient.
    pub(super) certificate: Sparse,
}

impl Row {
    fn pivot(&self) -> Option<(u32, u64)> {
        self.vector.first().copied()
    }
}

impl Echelon {
    /// Reduces the equations (each a sorted vector over the columns).
    pub(super) fn of(equations: impl IntoIterator<Item = (u32, Sparse)>, work: &mut Work) -> Result<Echelon, Spent> {
        let mut echelon = Echelon::default();
        for (index, vector) in equations {
            let row = echelon.reduce(Row { vector, certificate: vec![(index, 1)] }, work)?;
            let Some((column, coefficient)) = row.pivot() else { continue };
            let inverse = power(coefficient, P - 2);
            let row = Row { vector: scaled(&row.vector, inverse), certificate: scaled(&row.certificate, inverse) };
            for other in &mut echelon.rows {
                if let Some(factor) = coefficient_at(&other.vector, column) {
                    work.spend(other.vector.len() + other.certificate.len() + row.vector.len())?;
                    other.vector = minus(&other.vector, factor, &row.vector);
                    other.certificate = minus(&other.certificate, factor, &row.certificate);
                }
            }
            let at = echelon.rows.partition_point(|r| r.pivot().is_some_and(|(c, _)| c < column));
            echelon.rows.insert(at, row);
        }
        Ok(echelon)
    }

    /// The rows.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How a vector follows from the equations; `None` if it does not.
    pub(super) fn explain(&self, vector: Sparse, work: &mut Work) -> Result<Option<Sparse>, Spent> {
        let rest = self.reduce(Row { vector, certificate: Vec::new() }, work)?;
        Ok(rest.vector.is_empty().then(|| scaled(&rest.certificate, P - 1)))
    }

    fn reduce(&self, mut row: Row, work: &mut Work) -> Result<Row, Spent> {
        // The rows are fully reduced: what one subtracts never brings back the pivot of another.
        let pivots: Vec<(usize, u64)> = row
            .vector
            .iter()
            .filter_map(|(column, coefficient)| {
                let at = self.rows.binary_search_by_key(column, |r| r.pivot().map_or(u32::MAX, |(c, _)| c)).ok()?;
                Some((at, *coefficient))
            })
            .collect();
        for (at, factor) in pivots {
            let Some(known) = self.rows.get(at) else { continue };
            work.spend(row.vector.len() + row.certificate.len() + known.vector.len())?;
            row.vector = minus(&row.vector, factor, &known.vector);
            row.certificate = minus(&row.certificate, factor, &known.certificate);
        }
        Ok(row)
    }
}

/// `left + factor · right`, for the coefficient of an atom in a certificate.
pub(super) fn plus(left: u64, right: u64) -> u64 {
    let sum = left + right;
    if sum >= P { sum - P } else { sum }
}

/// `left − right`.
pub(super) fn less(left: u64, right: u64) -> u64 {
    plus(left, P - right % P)
}

fn coefficient_at(vector: &Sparse, column: u32) -> Option<u64> {
    let at = vector.binary_search_by_key(&column, |(c, _)| *c).ok()?;
    vector.get(at).map(|(_, v)| *v)
}

fn times(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    let low = (product & u128::from(P)) as u64;
    let high = (product >> 61) as u64;
    plus(low, high)
}

fn power(base: u64, mut exponent: u64) -> u64 {
    let (mut result, mut square) = (1, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = times(result, square);
        }
        square = times(square, square);
        exponent >>= 1;
    }
    result
}

fn scaled(vector: &Sparse, factor: u64) -> Sparse {
    vector.iter().map(|(column, value)| (*column, times(*value, factor))).collect()
}

fn minus(left: &Sparse, factor: u64, right: &Sparse) -> Sparse {
    let mut out = Vec::with_capacity(left.len() + right.len());
    let (mut a, mut b) = (left.iter().peekable(), right.iter().peekable());
    loop {
        match (a.peek(), b.peek()) {
            (Some((i, _)), Some((j, _))) if i < j => out.extend(a.next().copied()),
            (Some((i, x)), Some((j, y))) if i == j => {
                let value = less(*x, times(factor, *y));
                if value != 0 {
                    out.push((*i, value));
                }
                a.next();
                b.next();
            }
            (_, Some((j, y))) => {
                let value = less(0, times(factor, *y));
                if value != 0 {
                    out.push((*j, value));
                }
                b.next();
            }
            (Some(_), None) => out.extend(a.next().copied()),
            (None, None) => return out,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn sparse(dense: &[u64]) -> Sparse {
        dense.iter().enumerate().filter(|(_, v)| **v != 0).map(|(i, v)| (i as u32, *v)).collect()
    }

    #[test]
    fn finds_what_follows_and_why() {
        let mut work = Work::new(1_000_000);
        let equations = [vec![1, 1, 1, 0], vec![0, 1, 1, 0], vec![0, 0, 0, 1]];
        let e = Echelon::of(equations.iter().enumerate().map(|(i, v)| (i as u32, sparse(v))), &mut work).unwrap();
        assert_eq!(e.explain(sparse(&[1, 0, 0, 0]), &mut work).unwrap(), Some(vec![(0, 1), (1, P - 1)]));
        assert_eq!(e.explain(sparse(&[0, 1, 0, 0]), &mut work).unwrap(), None);
        assert!(
            Echelon::of(equations.iter().enumerate().map(|(i, v)| (i as u32, sparse(v))), &mut Work::new(2)).is_err()
        );
    }

    proptest! {
        #[test]
        fn certificates_add_up(
            matrix in prop::collection::vec(prop::collection::vec(0u64..2, 6), 1..8), mix in prop::collection::vec(0u64..5, 8),
        ) {
            let mut work = Work::new(1_000_000);
            let e = Echelon::of(matrix.iter().enumerate().map(|(i, v)| (i as u32, sparse(v))), &mut work).unwrap();
            let wanted: Vec<u64> = (0..6).map(|c| matrix.iter().zip(&mix).map(|(row, m)| row[c] * m).sum()).collect();
            let why = e.explain(sparse(&wanted), &mut work).unwrap().expect("a combination follows");
            for c in 0..6 {
                let got = why.iter().fold(0, |sum, (i, x)| plus(sum, times(*x, matrix[*i as usize][c])));
                prop_assert_eq!(got, wanted[c]);
            }
            for row in e.rows() {
                for c in 0..6u32 {
                    let got = row.certificate.iter().fold(0, |s, (i, x)| plus(s, times(*x, matrix[*i as usize][c as usize])));
                    prop_assert_eq!(got, coefficient_at(&row.vector, c).unwrap_or(0));
                }
            }
        }
    }
}
