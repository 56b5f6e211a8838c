//! Rule 2: what is withheld must not follow from what is released.
//!
//! ```text
//! Grid (which cell holds which atoms) ─┐
//! evidence of every atom ──────────────┼─► protect ─► which cells of one column may be released
//! what rule 1 lets out ────────────────┘
//! ```
//!
//! A *cell* is a group of one grouping set; an *atom* is a group of all key columns together, so that every cell is a set of atoms. A
//! *column* is the existence of the groups, or one measure. Whoever reads an answer knows, for every released cell, the sum over its
//! atoms, and is taken to know the sum over all atoms wherever the rules would release that, asked or not. From these he can work out any
//! linear combination. To a fixed point, cells are taken back until
//! - no withheld cell is such a combination;
//! - no set of atoms that is one, as far as the reduced system shows them, holds evidence that rule 1 would not release;
//! - under every released cell, and under everything, the withheld cells of every grouping set together would pass rule 1.
//!
//! What goes next is always a released cell that the combination needs: of the same grouping set if there is one, then the finest, then the
//! one with the fewest rows, then the first by key. Beyond a bound on the work only one grouping set is kept: it has a single
//! equation. The outcome depends on the table and the question alone.

mod grid;
mod linear;
mod work;

use std::cmp::Reverse;
use std::collections::HashMap;

pub use self::grid::{BadGrid, Cell, Grid, GroupingSet};
use self::linear::{Echelon, Sparse, less, plus};
use self::work::{Spent, Work};
use crate::evidence::Evidence;
use crate::policy::MinCohort;

/// Steps of the search before only one grouping set is kept: well below a second.
const MAX_WORK: u64 = 50_000_000;

/// Takes back released cells of one column until nothing withheld follows from the rest.
///
/// `released` says what rule 1 lets out, by cell, and is changed in place. `evidence` says, by atom, what must hold of rows whose sum becomes
/// known; it holds for every released cell.
pub fn protect(grid: &Grid, evidence: &[Evidence], released: &mut [bool], k: MinCohort) {
    // One grouping set takes a few steps a part, however many there are.
    let parts = evidence.iter().fold(0u64, |sum, e| sum.saturating_add(1 + e.len() as u64));
    protect_within(grid, evidence, released, k, MAX_WORK.max(parts.saturating_mul(4)));
}

fn protect_within(grid: &Grid, evidence: &[Evidence], released: &mut [bool], k: MinCohort, steps: u64) {
    if released.len() != grid.cells() || evidence.len() != grid.atoms() {
        released.fill(false);
        return;
    }
    let mut column = Column { grid, evidence, released, k, total_known: false, work: Work::new(steps) };
    if column.settle().is_err() {
        // What the other sets would have shown follows from this one, and passes rule 1: nothing below k does.
        let kept = column.keep_one_set();
        column.work = Work::new(u64::MAX);
        if column.settle_one_set(kept).is_err() {
            column.released.fill(false);
        }
    }
}

/// One column on its way to a fixed point.
struct Column<'a> {
    grid: &'a Grid,
    evidence: &'a [Evidence],
    released: &'a mut [bool],
    k: MinCohort,
    total_known: bool,
    work: Work,
}

/// An equation that everybody may write down.
#[derive(Clone, Copy)]
enum Line {
    /// The sum over all atoms, asked or not.
    Everything,
    /// A released cell of several atoms.
    Cell(usize),
}

/// Something that follows and must not: the combination of lines that gives it, and the atoms it is the sum of.
struct Leak {
    certificate: Vec<(Line, u64)>,
    target: Vec<u32>,
    /// The grouping set to take from first.
    set: Option<usize>,
}

/// Hidden atoms in classes: atoms under exactly the same lines cannot be told apart by any of them.
struct Classes {
    members: Vec<Vec<u32>>,
    class_of: Vec<Option<u32>>,
}

impl Column<'_> {
    fn settle(&mut self) -> Result<(), Spent> {
        let all: Vec<u32> = (0u32..).take(self.grid.atoms()).collect();
        let asked = (0..self.grid.cells()).find(|c| self.grid.is_total(*c));
        self.total_known = match asked {
            Some(cell) if self.is_released(cell) => true,
            _ => self.would_be_released(&all)?,
        };
        if self.grid.sets.len() == 1 {
            return self.settle_one_set(0);
        }
        while self.released.contains(&true) && (self.released.contains(&false) || self.hides_atoms()) {
            if !self.take_back()? {
                break;
            }
        }
        Ok(())
    }

    /// One grouping set has one equation, the total: the withheld cells together must pass rule 1, and be more than one.
    fn settle_one_set(&mut self, set: usize) -> Result<(), Spent> {
        if !self.total_known {
            return Ok(());
        }
        let mut hidden = Evidence::new();
        let mut count = 0usize;
        let mut next: Vec<(u64, usize, usize)> = Vec::new();
        for (index, cell) in self.grid.cells.iter().enumerate().filter(|(_, cell)| cell.set == set) {
            if self.is_released(index) {
                next.push((cell.rows, cell.rank, index));
            } else {
                count += 1;
                self.absorb(&mut hidden, index)?;
            }
        }
        next.sort_unstable();
        for (_, _, index) in next {
            if count == 0 || count > 1 && hidden.holds() {
                break;
            }
            count += 1;
            self.absorb(&mut hidden, index)?;
            if let Some(released) = self.released.get_mut(index) {
                *released = false;
            }
        }
        Ok(())
    }

    fn absorb(&mut self, sum: &mut Evidence, cell: usize) -> Result<(), Spent> {
        for atom in self.grid.atoms_of(cell) {
            if let Some(evidence) = self.evidence.get(*atom as usize) {
                self.work.spend(1 + evidence.len())?;
                sum.absorb(evidence, self.k);
            }
        }
        Ok(())
    }

    /// Whether there are atoms that no cell shows, as with GROUPING SETS ((a), (b)): their sums matter even if nothing is withheld yet.
    fn hides_atoms(&self) -> bool {
        self.released.iter().any(|r| *r)
            && !self.grid.sets.iter().any(|s| s.cell_of.iter().enumerate().all(|(a, c)| self.is_single(*c as usize, a)))
    }

    fn is_single(&self, cell: usize, atom: usize) -> bool {
        matches!(self.grid.atoms_of(cell), [only] if *only as usize == atom)
    }

    fn is_released(&self, cell: usize) -> bool {
        self.released.get(cell).copied().unwrap_or(false)
    }

    fn would_be_released(&mut self, atoms: &[u32]) -> Result<bool, Spent> {
        let mut sum = Evidence::new();
        for atom in atoms {
            if let Some(evidence) = self.evidence.get(*atom as usize) {
                self.work.spend(1 + evidence.len())?;
                sum.absorb(evidence, self.k);
            }
        }
        Ok(sum.holds())
    }

    /// One round: finds what follows and takes back something it needs. False if nothing does.
    fn take_back(&mut self) -> Result<bool, Spent> {
        let hidden = self.hidden_atoms()?;
        let lines = self.lines()?;
        let classes = self.classes(&hidden, &lines)?;
        let mut equations = Vec::new();
        for (index, line) in (0u32..).zip(&lines) {
            let mut over: Vec<u32> = Vec::new();
            for atom in self.atoms_of_line(*line) {
                over.extend(classes.class_of.get(atom as usize).copied().flatten());
            }
            self.work.spend(over.len() + 1)?;
            over.sort_unstable();
            over.dedup();
            equations.push((index, over.into_iter().map(|c| (c, 1)).collect::<Sparse>()));
        }
        let echelon = Echelon::of(equations, &mut self.work)?;

        let mut taken = false;
        for row in echelon.rows() {
            if let Some(leak) = self.leak_of_row(&row.vector, &row.certificate, &lines, &classes)? {
                self.stop(&leak, &hidden)?;
                taken = true;
            }
        }
        for cell in 0..self.grid.cells() {
            if let Some(leak) = self.leak_of_cell(cell, &lines, &classes, &hidden, &echelon)? {
                self.stop(&leak, &hidden)?;
                taken = true;
            }
        }
        if taken {
            return Ok(true);
        }
        self.take_back_under_a_line(&lines, &hidden)
    }

    /// By atom: whether no released cell is that atom alone.
    fn hidden_atoms(&mut self) -> Result<Vec<bool>, Spent> {
        self.work.spend(self.grid.atoms())?;
        let mut hidden = vec![true; self.grid.atoms()];
        for (cell, atoms) in self.grid.atoms_of.iter().enumerate() {
            if let [atom] = atoms.as_slice()
                && self.is_released(cell)
                && let Some(h) = hidden.get_mut(*atom as usize)
            {
                *h = false;
            }
        }
        Ok(hidden)
    }

    fn lines(&mut self) -> Result<Vec<Line>, Spent> {
        self.work.spend(self.grid.cells())?;
        // The smallest first: what follows from a line nearby is then explained by it, and a neighbour goes rather than a stranger.
        let mut cells: Vec<usize> = (0..self.grid.cells())
            .filter(|c| {
                self.is_released(*c)
                    && self.grid.atoms_of(*c).len() > 1
                    && !(self.total_known && self.grid.is_total(*c))
            })
            .collect();
        cells.sort_by_key(|c| (self.grid.atoms_of(*c).len(), *c));
        Ok(cells.into_iter().map(Line::Cell).chain(self.total_known.then_some(Line::Everything)).collect())
    }

    fn atoms_of_line(&self, line: Line) -> Vec<u32> {
        match line {
            Line::Everything => (0u32..).take(self.grid.atoms()).collect(),
            Line::Cell(cell) => self.grid.atoms_of(cell).to_vec(),
        }
    }

    fn classes(&mut self, hidden: &[bool], lines: &[Line]) -> Result<Classes, Spent> {
        let mut under: Vec<Vec<u32>> = vec![Vec::new(); self.grid.atoms()];
        for (index, line) in (0u32..).zip(lines) {
            let atoms = self.atoms_of_line(*line);
            self.work.spend(atoms.len())?;
            for atom in atoms {
                if hidden.get(atom as usize).copied().unwrap_or(false)
                    && let Some(u) = under.get_mut(atom as usize)
                {
                    u.push(index);
                }
            }
        }
        let mut ids: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut classes = Classes { members: Vec::new(), class_of: vec![None; self.grid.atoms()] };
        for (atom, under) in (0u32..).zip(under) {
            if under.is_empty() {
                continue;
            }
            let next = u32::try_from(classes.members.len()).map_err(|_| Spent)?;
            let class = *ids.entry(under).or_insert(next);
            if class == next {
                classes.members.push(Vec::new());
            }
            if let (Some(members), Some(of)) =
                (classes.members.get_mut(class as usize), classes.class_of.get_mut(atom as usize))
            {
                members.push(atom);
                *of = Some(class);
            }
        }
        Ok(classes)
    }

    /// A row of the reduced system that is a sum of atoms: it must not be one withheld cell, and must pass rule 1.
    fn leak_of_row(
        &mut self,
        vector: &Sparse,
        certificate: &Sparse,
        lines: &[Line],
        classes: &Classes,
    ) -> Result<Option<Leak>, Spent> {
        if vector.iter().any(|(_, coefficient)| *coefficient != 1) {
            return Ok(None);
        }
        let mut target: Vec<u32> = Vec::new();
        for (class, _) in vector {
            target.extend(classes.members.get(*class as usize).into_iter().flatten());
        }
        if target.len() == self.grid.atoms() {
            return Ok(None);
        }
        target.sort_unstable();
        let alone =
            match target.as_slice() {
                [atom] => self.grid.sets.iter().any(|s| {
                    s.cell_of.get(*atom as usize).is_some_and(|c| self.is_single(*c as usize, *atom as usize))
                }),
                _ => false,
            };
        if !alone && self.would_be_released(&target)? {
            return Ok(None);
        }
        Ok(Some(Leak { certificate: named(certificate, lines), target, set: None }))
    }

    /// A withheld cell that follows: from a combination, or from its atoms, which cells of other sets may show.
    fn leak_of_cell(
        &mut self,
        cell: usize,
        lines: &[Line],
        classes: &Classes,
        hidden: &[bool],
        echelon: &Echelon,
    ) -> Result<Option<Leak>, Spent> {
        let atoms = self.grid.atoms_of(cell);
        if self.is_released(cell) || self.grid.is_total(cell) {
            return Ok(None);
        }
        self.work.spend(atoms.len())?;
        let mut counts: HashMap<u32, usize> = HashMap::new();
        for atom in atoms {
            if hidden.get(*atom as usize).copied().unwrap_or(true) {
                match classes.class_of.get(*atom as usize).copied().flatten() {
                    Some(class) => *counts.entry(class).or_default() += 1,
                    None => return Ok(None),
                }
            }
        }
        let mut vector: Sparse = Vec::with_capacity(counts.len());
        for (class, count) in counts {
            if classes.members.get(class as usize).is_none_or(|m| m.len() != count) {
                return Ok(None);
            }
            vector.push((class, 1));
        }
        vector.sort_unstable();
        let why = echelon.explain(vector, &mut self.work)?;
        let set = self.grid.cells.get(cell).map(|c| c.set);
        Ok(why.map(|why| Leak { certificate: named(&why, lines), target: self.grid.atoms_of(cell).to_vec(), set }))
    }

    /// Withholds the cell that the leak needs and that is missed least, unless one that it needs went earlier in this round.
    fn stop(&mut self, leak: &Leak, hidden: &[bool]) -> Result<(), Spent> {
        // What the lines say of every atom, less what is wanted: atoms left over had to be known.
        let mut rest: HashMap<u32, u64> = HashMap::new();
        for (line, coefficient) in &leak.certificate {
            if let Line::Cell(cell) = line
                && !self.is_released(*cell)
            {
                return Ok(());
            }
            let atoms = self.atoms_of_line(*line);
            self.work.spend(atoms.len())?;
            for atom in atoms {
                let slot = rest.entry(atom).or_insert(0);
                *slot = plus(*slot, *coefficient);
            }
        }
        for atom in &leak.target {
            let slot = rest.entry(*atom).or_insert(0);
            *slot = less(*slot, 1);
        }
        let mut candidates: Vec<usize> = Vec::new();
        for (atom, _) in
            rest.into_iter().filter(|(atom, left)| *left != 0 && !hidden.get(*atom as usize).copied().unwrap_or(true))
        {
            let before = candidates.len();
            for set in &self.grid.sets {
                if let Some(cell) = set.cell_of.get(atom as usize).map(|c| *c as usize)
                    && self.is_single(cell, atom as usize)
                    && self.is_released(cell)
                {
                    candidates.push(cell);
                }
            }
            if candidates.len() == before {
                return Ok(());
            }
        }
        for (line, _) in &leak.certificate {
            if let Line::Cell(cell) = line {
                candidates.push(*cell);
            }
        }
        // A leak that needs nothing which could go cannot be (the sum over everything alone gives no cell); should it, all goes.
        if self.withhold_least(candidates, leak.set) { Ok(()) } else { Err(Spent) }
    }

    /// Withholds the least missed of some released cells.
    fn withhold_least(&mut self, candidates: Vec<usize>, set: Option<usize>) -> bool {
        let least = candidates
            .into_iter()
            .filter(|c| self.is_released(*c) && !self.grid.is_total(*c))
            .filter_map(|c| self.grid.cells.get(c).map(|cell| (c, cell)))
            .min_by_key(|(c, cell)| {
                let columns = self.grid.set_of(*c).map_or(0, |s| s.columns.count_ones());
                (set.is_some_and(|s| s != cell.set), Reverse(columns), cell.rows, cell.rank)
            })
            .map(|(c, _)| c);
        match least.and_then(|c| self.released.get_mut(c)) {
            Some(released) => {
                *released = false;
                true
            }
            None => false,
        }
    }

    /// The rule as a person would put it: under every line, what is withheld of a grouping set would pass rule 1 together.
    fn take_back_under_a_line(&mut self, lines: &[Line], hidden: &[bool]) -> Result<bool, Spent> {
        let grid = self.grid;
        let mut order: Vec<(usize, &GroupingSet)> = grid.sets.iter().enumerate().collect();
        order.sort_by_key(|(index, set)| (Reverse(set.columns.count_ones()), *index));
        for (index, set) in order {
            for line in lines {
                let within = match line {
                    Line::Everything => 0,
                    Line::Cell(cell) => grid.set_of(*cell).map_or(0, |s| s.columns),
                };
                if set.columns & within != within
                    || matches!(line, Line::Cell(c) if grid.cells.get(*c).is_some_and(|c| c.set == index))
                {
                    continue;
                }
                let mut target = Vec::new();
                let mut siblings = Vec::new();
                let atoms = self.atoms_of_line(*line);
                self.work.spend(atoms.len())?;
                for atom in atoms {
                    let Some(cell) = set.cell_of.get(atom as usize).map(|c| *c as usize) else { continue };
                    if self.is_released(cell) {
                        siblings.push(cell);
                    } else if hidden.get(atom as usize).copied().unwrap_or(true) {
                        target.push(atom);
                    }
                }
                if target.is_empty() || target.len() == grid.atoms() || self.would_be_released(&target)? {
                    continue;
                }
                let parent = match line {
                    Line::Everything => None,
                    Line::Cell(cell) => Some(*cell),
                };
                if self.withhold_least(siblings, Some(index)) || self.withhold_least(parent.into_iter().collect(), None)
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The way out when there is too much to solve: the grouping set with the most cells stays, the others are withheld.
    fn keep_one_set(&mut self) -> usize {
        let mut cells = vec![0usize; self.grid.sets.len()];
        for cell in &self.grid.cells {
            if let Some(n) = cells.get_mut(cell.set) {
                *n += 1;
            }
        }
        let kept = (0..cells.len()).max_by_key(|s| (cells.get(*s).copied(), Reverse(*s))).unwrap_or(0);
        for (cell, released) in self.grid.cells.iter().zip(self.released.iter_mut()) {
            *released &= cell.set == kept;
        }
        // The total is known whether or not it is shown here; before the work ran out it may not have been worked out.
        self.total_known = true;
        kept
    }
}

fn named(certificate: &Sparse, lines: &[Line]) -> Vec<(Line, u64)> {
    certificate
        .iter()
        .filter_map(|(index, coefficient)| lines.get(*index as usize).map(|l| (*l, *coefficient)))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::cohort::Cohort;
    use crate::evidence::Part;

    #[test]
    fn beyond_the_bound_one_grouping_set_stays() {
        let k = MinCohort::try_from(5).unwrap();
        // 12 × 12 atoms of 10 units, but the first of 2.
        let size = |atom: u64| if atom == 0 { 2 } else { 10 };
        let evidence: Vec<Evidence> = (0..144u64)
            .map(|a| {
                let mut e = Evidence::new();
                e.add(Part { guard: 0, part: 0 }, &Cohort::of((a * 100..a * 100 + size(a)).collect(), k), k);
                e
            })
            .collect();
        let mut cells: Vec<Cell> = (0..144u64).map(|a| Cell { set: 0, rows: size(a), rank: a as usize }).collect();
        cells.extend((0..12).map(|r| Cell { set: 1, rows: 120, rank: 144 + r }));
        cells.extend((0..12).map(|r| Cell { set: 2, rows: 120, rank: 156 + r }));
        let sets = vec![
            GroupingSet { columns: 3, cell_of: (0..144).collect() },
            GroupingSet { columns: 1, cell_of: (0..144).map(|a| 144 + a / 12).collect() },
            GroupingSet { columns: 2, cell_of: (0..144).map(|a| 156 + a % 12).collect() },
        ];
        let grid = Grid::new(sets, cells, 144).unwrap();
        let start: Vec<bool> = (0..168).map(|c| c != 0).collect();
        let mut released = start.clone();
        protect(&grid, &evidence, &mut released, k);
        let hidden: Vec<usize> = (0..168).filter(|c| !released[*c]).collect();
        assert_eq!(hidden, [0, 1, 12, 13], "a rectangle is withheld, its rows and columns stay");
        let mut released = start;
        protect_within(&grid, &evidence, &mut released, k, 1_500);
        assert!(released[144..].iter().all(|r| !r) && released.iter().filter(|r| **r).count() == 142);
    }
}
