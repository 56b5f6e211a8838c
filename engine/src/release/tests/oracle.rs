//! The rules once more, slowly: rows in memory, sets of units, no saturation, no merging.

use std::collections::{BTreeMap, BTreeSet};

use super::units::Row;

/// What an aggregate of the tests is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum What {
    CountRows,
    CountX,
    CountDistinctB,
    SumX,
    AvgX,
    VarX,
    MedianX,
}

/// An aggregate with an optional `FILTER (WHERE b > n)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) what: What,
    pub(super) above: Option<i64>,
}

impl Ask {
    pub(super) fn sql(self) -> String {
        let call = match self.what {
            What::CountRows => "count(*)",
            What::CountX => "count(x)",
            What::CountDistinctB => "count(distinct b)",
            What::SumX => "sum(x)",
            What::AvgX => "avg(x)",
            What::VarX => "var_pop(x)",
            What::MedianX => "median(x)",
        };
        match self.above {
            Some(n) => format!("{call} FILTER (WHERE b > {n})"),
            None => call.to_owned(),
        }
    }

    fn filter(self, row: &Row) -> Option<bool> {
        self.above.map_or(Some(true), |n| row.b.map(|b| b > n))
    }

    fn is_present(self, row: &Row) -> bool {
        self.filter(row) == Some(true)
            && match self.what {
                What::CountRows => true,
                What::CountDistinctB => row.b.is_some(),
                _ => row.x.is_some(),
            }
    }

    /// The values of its conditions; `None` if it has none.
    fn part(self, row: &Row) -> Option<Vec<Option<bool>>> {
        let mut part = Vec::new();
        if self.above.is_some() {
            part.push(self.filter(row));
        }
        match self.what {
            What::CountX | What::SumX => part.push(Some(row.x.is_none())),
            What::CountDistinctB => part.push(Some(row.b.is_none())),
            _ => {}
        }
        (!part.is_empty()).then_some(part)
    }

    pub(super) fn value(self, rows: &[&Row]) -> Option<f64> {
        let rows: Vec<&&Row> = rows.iter().filter(|r| self.is_present(r)).collect();
        let mut x: Vec<f64> = rows.iter().filter_map(|r| r.x).collect();
        let n = x.len() as f64;
        match self.what {
            What::CountRows => Some(rows.len() as f64),
            What::CountX => Some(n),
            What::CountDistinctB => Some(rows.iter().filter_map(|r| r.b).collect::<BTreeSet<_>>().len() as f64),
            What::SumX => Some(x.iter().sum()),
            What::AvgX => Some(x.iter().sum::<f64>() / n),
            What::VarX => {
                let mean = x.iter().sum::<f64>() / n;
                Some(x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n)
            }
            What::MedianX => {
                x.sort_by(f64::total_cmp);
                let (low, high) = (x.get((x.len().max(1) - 1) / 2)?, x.get(x.len() / 2)?);
                Some((low + high) / 2.0)
            }
        }
    }
}

fn units<'a>(rows: impl Iterator<Item = &'a Row>) -> BTreeSet<i64> {
    rows.map(|r| r.unit).collect()
}

/// Whether every count of units behind a sum over `rows` is 0 or at least k.
pub(super) fn could_be_known(ask: Ask, all: &[Ask], rows: &[&Row], k: usize) -> bool {
    let fine = |n: usize| n == 0 || n >= k;
    let present = units(rows.iter().copied().filter(|r| ask.is_present(r)));
    let everybody = units(rows.iter().copied());
    fine(present.len())
        && fine(everybody.len())
        && all.iter().all(|other| {
            let mut parts: BTreeMap<_, BTreeSet<i64>> = BTreeMap::new();
            for row in rows {
                if let (Some(mine), Some(theirs)) = (ask.part(row), other.part(row)) {
                    parts.entry((mine, theirs)).or_default().insert(row.unit);
                }
            }
            parts.values().all(|units| fine(units.len()))
        })
}

fn rule_1_3_4(ask: Ask, all: &[Ask], rows: &[&Row], k: usize) -> bool {
    let present: Vec<&Row> = rows.iter().copied().filter(|r| ask.is_present(r)).collect();
    if units(present.iter().copied()).len() < k || !could_be_known(ask, all, rows, k) {
        return false;
    }
    match ask.what {
        What::SumX | What::AvgX => !is_dominated(&present, f64::abs),
        What::VarX => present.len() > 10 && !is_dominated(&present, |x| x * x),
        What::MedianX => {
            let median = ask.value(rows).unwrap();
            let side =
                |keep: &dyn Fn(f64) -> bool| units(present.iter().copied().filter(|r| keep(r.x.unwrap()))).len() >= k;
            side(&|x| x <= median) && side(&|x| x >= median)
        }
        _ => true,
    }
}

/// Whether two units hold 90% of the weight.
fn is_dominated(rows: &[&Row], weight: impl Fn(f64) -> f64) -> bool {
    let mut sums: BTreeMap<i64, f64> = BTreeMap::new();
    for row in rows {
        *sums.entry(row.unit).or_default() += weight(row.x.unwrap());
    }
    let mut sums: Vec<f64> = sums.into_values().collect();
    sums.sort_by(|a, b| b.total_cmp(a));
    let total: f64 = sums.iter().sum();
    total != 0.0 && sums[0] + sums[1] >= 0.9 * total - 1e-9
}

/// The answer to `GROUP BY` some keys: by key, in order (NULL last), the values that may be known.
pub(super) fn answer<K: Ord + Clone>(
    rows: &[Row],
    key: impl Fn(&Row) -> K,
    asks: &[Ask],
    k: usize,
) -> Vec<(K, Vec<Option<f64>>)> {
    let mut groups: BTreeMap<K, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        groups.entry(key(row)).or_default().push(row);
    }
    let all: Vec<&Row> = rows.iter().collect();
    let mut order: Vec<K> = groups.keys().cloned().collect();
    order.sort_by_key(|key| (groups[key].len(), key.clone()));
    let keep = |released: &mut BTreeSet<K>, known: &dyn Fn(&[&Row]) -> bool| {
        if !known(&all) {
            return;
        }
        loop {
            let hidden: Vec<&K> = order.iter().filter(|key| !released.contains(*key)).collect();
            let behind: Vec<&Row> = hidden.iter().flat_map(|key| groups[*key].iter().copied()).collect();
            if hidden.is_empty() || (hidden.len() > 1 && known(&behind)) {
                return;
            }
            let Some(next) = order.iter().find(|key| released.contains(*key)).cloned() else { return };
            released.remove(&next);
        }
    };
    let mut shown: BTreeSet<K> =
        order.iter().filter(|key| units(groups[*key].iter().copied()).len() >= k).cloned().collect();
    keep(&mut shown, &|rows| {
        let n = units(rows.iter().copied()).len();
        n == 0 || n >= k
    });
    let columns: Vec<BTreeSet<K>> = asks
        .iter()
        .map(|ask| {
            let mut known: BTreeSet<K> =
                shown.iter().filter(|key| rule_1_3_4(*ask, asks, &groups[*key], k)).cloned().collect();
            if ask.what != What::MedianX {
                keep(&mut known, &|rows| could_be_known(*ask, asks, rows, k));
            }
            known
        })
        .collect();
    shown
        .iter()
        .map(|key| {
            let values = asks
                .iter()
                .zip(&columns)
                .map(|(ask, known)| known.contains(key).then(|| ask.value(&groups[key]).unwrap()));
            (key.clone(), values.collect())
        })
        .collect()
}
