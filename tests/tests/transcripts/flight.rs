//! A client of Flight SQL, and a coordinator that means no good, which keep every message they are sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandGetDbSchemas, CommandGetTables};
use arrow_flight::{FlightData, FlightInfo};
use datafusion::arrow::array::{Array, ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::{StreamExt as _, TryStreamExt as _};
use kanon_tests::{ANALYST, Federation};
use prost::Message as _;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::attempts::Parameter;

/// All that came for one question.
#[derive(Debug, Default)]
pub struct Heard {
    /// Every byte, but what is random: tickets and handles.
    pub bytes: Vec<u8>,
    /// The messages of the answer.
    data: Vec<FlightData>,
}

impl Heard {
    fn status(mut self, status: &Status) -> Heard {
        let mut metadata: Vec<String> = status
            .metadata()
            .clone()
            .into_headers()
            .iter()
            .filter(|(name, _)| name.as_str() != "date")
            .map(|(name, value)| format!("{name}: {value:?}"))
            .collect();
        metadata.sort();
        let said = format!("{:?} {} {:?} {metadata:?}", status.code(), status.message(), status.details());
        self.bytes.extend(said.as_bytes());
        self
    }

    fn info(&mut self, info: &FlightInfo) {
        let mut info = info.clone();
        for endpoint in &mut info.endpoint {
            // A ticket is a random handle: only its length could tell.
            let length = endpoint.ticket.take().map_or(0, |t| t.ticket.len());
            self.bytes.extend(length.to_be_bytes());
        }
        // So is what names a prepared statement.
        let descriptor = info.flight_descriptor.take().map_or(0, |d| d.cmd.len());
        self.bytes.extend(descriptor.to_be_bytes());
        self.bytes.extend(info.encode_to_vec());
    }

    async fn stream(mut self, stream: Result<tonic::Response<tonic::Streaming<FlightData>>, Status>) -> Heard {
        let mut stream = match stream {
            Ok(response) => response.into_inner(),
            Err(status) => return self.status(&status),
        };
        while let Some(data) = stream.next().await {
            match data {
                Ok(data) => {
                    self.bytes.extend(data.encode_to_vec());
                    self.data.push(data);
                }
                Err(status) => return self.status(&status),
            }
        }
        self
    }

    /// What must be the same even where numbers may differ: all but the bodies of batches.
    pub fn skeleton(&self) -> Vec<u8> {
        self.data
            .iter()
            .flat_map(|d| {
                let mut d = d.clone();
                d.data_body = d.data_body.iter().map(|_| 0).collect::<Vec<u8>>().into();
                d.encode_to_vec()
            })
            .collect()
    }

    /// The values of the rows, as text. `None` is NULL.
    pub async fn cells(&self) -> Vec<Vec<Option<String>>> {
        let data = self.data.clone().into_iter().map(Ok);
        let batches: Vec<RecordBatch> =
            FlightRecordBatchStream::new_from_flight_data(futures::stream::iter(data)).try_collect().await.unwrap();
        batches.iter().flat_map(rows_of).collect()
    }
}

/// Rows as text.
pub fn rows_of(batch: &RecordBatch) -> Vec<Vec<Option<String>>> {
    let options = FormatOptions::default();
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|c| if c.data_type().is_numeric() { cast(c, &DataType::Float64).unwrap() } else { Arc::clone(c) })
        .collect();
    let written: Vec<ArrayFormatter<'_>> =
        columns.iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
    (0..batch.num_rows())
        .map(|row| {
            columns
                .iter()
                .zip(&written)
                .map(|(column, written)| column.is_valid(row).then(|| written.value(row).to_string()))
                .collect()
        })
        .collect()
}

/// A client of Flight SQL, logged in.
pub struct Client {
    client: FlightSqlServiceClient<Channel>,
}

impl Client {
    /// Logs in.
    pub async fn connect(port: u16) -> Client {
        let channel = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect().await.unwrap();
        let mut client = FlightSqlServiceClient::new(channel);
        client.handshake(ANALYST.0, ANALYST.1).await.unwrap();
        Client { client }
    }

    /// A statement.
    pub async fn statement(&mut self, sql: &str) -> Heard {
        let mut heard = Heard::default();
        match self.client.execute(sql.to_owned(), None).await {
            Ok(info) => {
                heard.info(&info);
                self.fetch(heard, info).await
            }
            Err(error) => heard.status(&status(error)),
        }
    }

    /// A prepared statement, with parameters if it has any.
    pub async fn prepared(&mut self, sql: &str, parameters: &[Parameter]) -> Heard {
        let mut heard = Heard::default();
        let mut statement = match self.client.prepare(sql.to_owned(), None).await {
            Ok(statement) => statement,
            Err(error) => return heard.status(&status(error)),
        };
        let told = [statement.dataset_schema(), statement.parameter_schema()].map(|schema| {
            let fields = schema.unwrap().fields().iter().map(|field| {
                // A map has no order.
                let metadata: BTreeMap<_, _> = field.metadata().iter().collect();
                format!("{} {:?} {} {metadata:?}", field.name(), field.data_type(), field.is_nullable())
            });
            fields.collect::<Vec<_>>().join(", ")
        });
        heard.bytes.extend(told.concat().as_bytes());
        if !parameters.is_empty() {
            let columns = parameters.iter().enumerate().map(|(i, p)| (format!("${}", i + 1), value(p)));
            statement.set_parameters(RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        }
        let heard = match statement.execute().await {
            Ok(info) => {
                heard.info(&info);
                self.fetch(heard, info).await
            }
            Err(error) => heard.status(&status(error)),
        };
        let _ = statement.close().await;
        heard
    }

    /// What the catalog's own requests tell.
    pub async fn catalog(&mut self) -> Heard {
        let mut heard = Heard::default();
        let tables = CommandGetTables { include_schema: true, ..Default::default() };
        for info in [
            self.client.get_tables(tables).await,
            self.client.get_db_schemas(CommandGetDbSchemas::default()).await,
            self.client.get_table_types().await,
        ] {
            let info = info.unwrap();
            heard.info(&info);
            heard = self.fetch(heard, info).await;
        }
        heard
    }

    async fn fetch(&mut self, heard: Heard, info: FlightInfo) -> Heard {
        let mut request = tonic::Request::new(info.endpoint[0].ticket.clone().unwrap());
        let token = format!("Bearer {}", self.client.token().unwrap());
        request.metadata_mut().insert("authorization", token.parse().unwrap());
        let stream = self.client.inner_mut().do_get(request).await;
        heard.stream(stream).await
    }
}

fn value(parameter: &Parameter) -> ArrayRef {
    let text = parameter.value.as_str();
    match parameter.kind {
        "int8" => Arc::new(Int64Array::from(vec![text.parse::<i64>().unwrap()])),
        "float8" => Arc::new(Float64Array::from(vec![text.parse::<f64>().unwrap()])),
        "date" => {
            let text: ArrayRef = Arc::new(StringArray::from(vec![text]));
            let date = cast(&text, &DataType::Date32).unwrap();
            Arc::new(date.as_any().downcast_ref::<Date32Array>().unwrap().clone())
        }
        _ => Arc::new(StringArray::from(vec![text])),
    }
}

fn status(error: arrow_flight::error::FlightError) -> Status {
    match error {
        arrow_flight::error::FlightError::Tonic(status) => *status,
        other => Status::unknown(other.to_string()),
    }
}

/// Whoever holds the key of node `alpha`: a trusted coordinator that asks `beta` what it likes.
pub struct Peer(kanon_tests::peer::Peer);

impl Peer {
    /// Takes alpha's key and connects to beta.
    pub async fn connect(federation: &Federation) -> Peer {
        Peer(kanon_tests::peer::Peer::connect(federation.site("alpha"), federation.site("beta")).await)
    }

    /// A subplan of its own writing, with a good ticket.
    pub async fn ask(&mut self, sql: &str) -> Heard {
        let ticket = self.0.ticket(sql, ANALYST.0);
        let stream = self.0.get(sql, &ticket).await;
        Heard::default().stream(stream).await
    }
}
