//! Rows on disk: partitions of the rows that did not fit into memory, as Arrow IPC in files of the run-time's disk manager, which removes
//! them with their last owner.

use std::sync::{Arc, Mutex};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::spill_file::{SpillFile, SpillWriter};
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};

use super::super::super::below;
use super::partition::{Run, Size};
use crate::error::{Error, Result};

/// What the disk manager says if it has no room is not told to anybody.
const PURPOSE: &str = "private release";

/// Rows of one partition on disk.
pub(super) struct Spilled {
    file: Arc<dyn SpillFile>,
    pub(super) size: Size,
}

impl Spilled {
    /// The rows, batch by batch.
    pub(super) fn read(&self, runtime: &Arc<RuntimeEnv>, schema: &SchemaRef) -> Result<SendableRecordBatchStream> {
        let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
        SpillManager::new(Arc::clone(runtime), metrics, Arc::clone(schema))
            .read_spill_as_stream_unbuffered(Arc::clone(&self.file), None)
            .map_err(below)
    }
}

/// Writes partitions.
pub(super) struct Spill {
    runtime: Arc<RuntimeEnv>,
    schema: SchemaRef,
    partitions: Vec<Option<Open>>,
}

struct Open {
    file: Arc<dyn SpillFile>,
    writer: StreamWriter<Box<dyn SpillWriter>>,
    size: Size,
}

impl Spill {
    pub(super) fn new(runtime: &Arc<RuntimeEnv>, schema: &SchemaRef, partitions: usize) -> Spill {
        let partitions = std::iter::repeat_with(|| None).take(partitions).collect();
        Spill { runtime: Arc::clone(runtime), schema: Arc::clone(schema), partitions }
    }

    /// Appends to every partition its rows of these runs.
    pub(super) fn append(&mut self, runs: &[Run]) -> Result<()> {
        for (number, open) in self.partitions.iter_mut().enumerate() {
            let size = runs.iter().map(|run| run.size_of(number)).fold(Size::default(), Size::plus);
            if size.rows == 0 {
                continue;
            }
            let slices = runs.iter().map(|run| run.partition(number)).collect::<Result<Vec<RecordBatch>>>()?;
            let rows = concat_batches(&self.schema, &slices).map_err(below)?;
            let open = match open {
                Some(open) => open,
                None => open.insert(Open::new(&self.runtime, &self.schema)?),
            };
            open.writer.write(&rows).map_err(below)?;
            open.size = open.size.plus(size);
        }
        Ok(())
    }

    /// How much was written of each partition.
    pub(super) fn sizes(&self) -> Vec<Size> {
        self.partitions.iter().map(|open| open.as_ref().map_or(Size::default(), |open| open.size)).collect()
    }

    /// What was written, by partition.
    pub(super) fn finish(self) -> Result<Vec<Option<Spilled>>> {
        self.partitions.into_iter().map(|open| open.map(Open::finish).transpose()).collect()
    }
}

impl Open {
    fn new(runtime: &RuntimeEnv, schema: &SchemaRef) -> Result<Open> {
        let file = runtime.disk_manager.create_tmp_file(PURPOSE).map_err(below)?;
        let writer = StreamWriter::try_new(file.open_writer().map_err(below)?, schema).map_err(below)?;
        Ok(Open { file, writer, size: Size::default() })
    }

    fn finish(mut self) -> Result<Spilled> {
        self.writer.finish().map_err(below)?;
        self.writer.into_inner().map_err(below)?.finish().map_err(below)?;
        Ok(Spilled { file: self.file, size: self.size })
    }
}

/// Closes the files of what others wrote too.
pub(super) async fn finish(disk: Arc<Mutex<Spill>>) -> Result<Vec<Option<Spilled>>> {
    let spill = Arc::into_inner(disk).ok_or_else(Error::below_boundary)?.into_inner().map_err(below)?;
    SpawnedTask::spawn_blocking(move || spill.finish()).await.map_err(below)?
}

/// A batch of the rows of several.
pub(super) fn joined(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    match batches {
        [one] => Ok(one.clone()),
        _ => concat_batches(schema, batches).map_err(below),
    }
}
