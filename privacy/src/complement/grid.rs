//! Which cells an answer has, and which atoms they are sums of.

/// A cell of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Its grouping set, an index into the grid's sets.
    pub set: usize,
    /// Rows behind it.
    pub rows: u64,
    /// Its place when the answer is sorted by key: ties by rows are decided by it.
    pub rank: usize,
}

/// A grouping set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupingSet {
    /// Which key columns it groups by, a bit each.
    pub columns: u64,
    /// For every atom the cell of this set that holds it.
    pub cell_of: Vec<u32>,
}

/// The cells of an answer and what they are made of.
#[derive(Debug, Clone)]
pub struct Grid {
    pub(super) sets: Vec<GroupingSet>,
    pub(super) cells: Vec<Cell>,
    atoms: usize,
    pub(super) atoms_of: Vec<Vec<u32>>,
}

/// A grid that does not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cells and atoms do not fit together")]
pub struct BadGrid;

impl Grid {
    /// A grid of `atoms` atoms. Every set says of every atom which cell holds it.
    ///
    /// # Errors
    /// If a set names a cell of another set, or leaves atoms or cells out.
    pub fn new(sets: Vec<GroupingSet>, cells: Vec<Cell>, atoms: usize) -> Result<Grid, BadGrid> {
        let mut atoms_of = vec![Vec::new(); cells.len()];
        for (index, set) in sets.iter().enumerate() {
            if set.cell_of.len() != atoms {
                return Err(BadGrid);
            }
            for (atom, cell) in (0u32..).zip(&set.cell_of) {
                if cells.get(*cell as usize).is_none_or(|c| c.set != index) {
                    return Err(BadGrid);
                }
                atoms_of.get_mut(*cell as usize).ok_or(BadGrid)?.push(atom);
            }
        }
        if atoms_of.iter().any(Vec::is_empty) {
            return Err(BadGrid);
        }
        Ok(Grid { sets, cells, atoms, atoms_of })
    }

    /// The grid of one grouping set: every cell is its own atom. `rows` by cell, in order of key.
    pub fn flat(rows: impl IntoIterator<Item = u64>) -> Grid {
        let cells: Vec<Cell> = rows.into_iter().enumerate().map(|(rank, rows)| Cell { set: 0, rows, rank }).collect();
        let atoms = cells.len();
        let cell_of = (0u32..).take(atoms).collect();
        let atoms_of = (0u32..).take(atoms).map(|a| vec![a]).collect();
        Grid { sets: vec![GroupingSet { columns: u64::MAX, cell_of }], cells, atoms, atoms_of }
    }

    /// How many cells.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// How many atoms.
    pub fn atoms(&self) -> usize {
        self.atoms
    }

    /// The atoms of a cell.
    pub fn atoms_of(&self, cell: usize) -> &[u32] {
        self.atoms_of.get(cell).map_or(&[], Vec::as_slice)
    }

    /// Whether a cell is the sum of everything: it says no more than the total, which is known anyway.
    pub(super) fn is_total(&self, cell: usize) -> bool {
        self.atoms_of(cell).len() == self.atoms
    }

    pub(super) fn set_of(&self, cell: usize) -> Option<&GroupingSet> {
        self.cells.get(cell).and_then(|c| self.sets.get(c.set))
    }
}
