//! Values of parameters, as clients bind them.

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::server::PeekableFlightDataStream;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt as _;
use kanon_engine::error::{Error, Result as KanonResult, Sqlstate};
use kanon_engine::session::Prepared;
use tonic::Request;

use crate::service::{StatusResult, failed};

/// The row of values that a client binds, in the types of the statement.
pub(crate) async fn bound_values(
    request: Request<PeekableFlightDataStream>,
    prepared: &Prepared,
) -> StatusResult<Vec<Vec<ScalarValue>>> {
    /// Most rows of values at once.
    const MAX_ROWS: usize = 10_000;
    let mut batches = FlightRecordBatchStream::new_from_flight_data(request.into_inner().map_err(FlightError::from));
    let unreadable = |_| failed(Error::new(Sqlstate::ProtocolViolation, "the parameters cannot be read"));
    let mut rows = Vec::new();
    while let Some(batch) = batches.try_next().await.map_err(unreadable)? {
        if batch.num_columns() != prepared.parameters.len() {
            let message = format!(
                "the statement has {} parameters, and {} were given",
                prepared.parameters.len(),
                batch.num_columns()
            );
            return Err(failed(Error::new(Sqlstate::ProtocolViolation, message)));
        }
        if rows.len() + batch.num_rows() > MAX_ROWS {
            return Err(failed(Error::unsupported("more than 10000 rows of parameters")));
        }
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter().zip(&prepared.parameters).enumerate().map(|(i, (column, to))| {
                ScalarValue::try_from_array(column, row).and_then(|value| value.cast_to(&to.data_type)).map_err(|_| {
                    Error::new(
                        Sqlstate::InvalidBinaryRepresentation,
                        format!("the value of parameter ${} cannot be read as {}", i + 1, to.data_type),
                    )
                })
            });
            rows.push(values.collect::<KanonResult<Vec<_>>>().map_err(failed)?);
        }
    }
    Ok(rows)
}
