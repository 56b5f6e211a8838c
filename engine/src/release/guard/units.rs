//! Units as 64-bit ids.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::buffer::ScalarBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type, UInt64Type};
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::error::Result;

/// The seed of the hash: fixed, so that partitions agree.
const SEED: u64 = 0x6b61_6e6f_6e2e_756e;

/// The id of every row's unit: the value itself for integers, a hash for the rest. Ids of NULLs mean nothing.
pub(super) fn unit_ids(units: &ArrayRef) -> Result<ScalarBuffer<u64>> {
    match units.data_type() {
        DataType::Int64 => Ok(ScalarBuffer::from(units.as_primitive::<Int64Type>().values().inner().clone())),
        DataType::UInt64 => Ok(units.as_primitive::<UInt64Type>().values().clone()),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => {
            unit_ids(&cast(units, &DataType::Int64)?)
        }
        _ => {
            let mut ids = vec![0; units.len()];
            create_hashes([units], &RandomState::with_seed(SEED), &mut ids)?;
            Ok(ScalarBuffer::from(ids))
        }
    }
}
