//! A bound on the steps that the search for what follows may take.

/// Steps left.
#[derive(Debug)]
pub(super) struct Work {
    left: u64,
}

/// No steps are left: the answer must be made smaller instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spent;

impl Work {
    pub(super) fn new(steps: u64) -> Self {
        Work { left: steps }
    }

    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Spent> {
        self.left = self.left.checked_sub(steps as u64).ok_or(Spent)?;
        Ok(())
    }
}
