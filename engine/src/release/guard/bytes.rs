//! Reading and writing the state of guards.

use datafusion::error::DataFusionError;

/// State that no guard wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::release) struct BadState;

impl From<BadState> for DataFusionError {
    fn from(_: BadState) -> Self {
        DataFusionError::Internal("state of a guard".into())
    }
}

/// Reads numbers and pieces off the front of some bytes.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_done(&self) -> bool {
        self.0.is_empty()
    }
    pub(super) fn piece(&mut self, length: usize) -> Result<&'a [u8], BadState> {
        let (piece, rest) = self.0.split_at_checked(length).ok_or(BadState)?;
        self.0 = rest;
        Ok(piece)
    }
    pub(super) fn u8(&mut self) -> Result<u8, BadState> {
        self.piece(1)?.first().copied().ok_or(BadState)
    }
    pub(super) fn u32(&mut self) -> Result<u32, BadState> {
        self.piece(4)?.try_into().map(u32::from_le_bytes).map_err(|_| BadState)
    }
    pub(super) fn u64(&mut self) -> Result<u64, BadState> {
        self.piece(8)?.try_into().map(u64::from_le_bytes).map_err(|_| BadState)
    }
    pub(super) fn f64(&mut self) -> Result<f64, BadState> {
        self.u64().map(f64::from_bits)
    }
}
