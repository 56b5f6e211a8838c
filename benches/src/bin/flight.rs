//! Rows over Flight SQL, beside a plain Flight server that has the same batches in memory.
//!
//! ```text
//! cargo build --release --workspace && cargo run --release -p kanon-benches --bin flight
//! KANON_BENCH_ROWS=100000 KANON_BENCH_ROUNDS=1 … --bin flight                  something quicker
//! ```
//!
//! Both are read in turns by the same client, which decodes what it gets. The node reads the rows from an Arrow file; they are 64 bytes each.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow::ipc::writer::FileWriter;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightClient as PlainClient, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use kanon_benches::{median, number};
use kanon_tests::flight::FlightClient;
use kanon_tests::{ADMIN, Federation, SiteSpec};
use tonic::transport::{Endpoint, Server, server::TcpIncoming};
use tonic::{Request, Response, Status, Streaming};

type Outcome<T> = Result<T, Box<dyn Error>>;

const COLUMNS: usize = 8;
const BATCH_ROWS: usize = 8_192;

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> Outcome<()> {
    let rows = number("KANON_BENCH_ROWS", 4_000_000)?;
    let rounds = number("KANON_BENCH_ROUNDS", 5)?.max(1);
    let batches = batches(rows)?;
    let first = batches.first().ok_or("no rows")?;
    let mut writer = FileWriter::try_new(Vec::new(), &first.schema())?;
    for batch in &batches {
        writer.write(batch)?;
    }
    let setup = [
        "CREATE EXTERNAL TABLE wide STORED AS ARROW LOCATION '{dir}/wide.arrow'",
        "ALTER TABLE wide SET (access = 'open')",
        "GRANT SELECT ON wide TO root",
    ];
    let federation = Federation::start(vec![SiteSpec {
        id: "cleveland",
        setup: setup.map(str::to_owned).into(),
        files: vec![("wide.arrow".to_owned(), writer.into_inner()?)],
    }])
    .await;
    let mut node = FlightClient::connect(federation.site("cleveland").flight_port, ADMIN).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = FlightServiceServer::new(Plain { batches: Arc::new(batches) });
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let mut plain = PlainClient::new(channel);

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let began = Instant::now();
        let info = node.inner.execute("SELECT * FROM wide".to_owned(), None).await?;
        let mut seen = 0;
        for ticket in info.endpoint.into_iter().filter_map(|endpoint| endpoint.ticket) {
            let mut stream = node.inner.do_get(ticket).await?;
            while let Some(batch) = stream.try_next().await? {
                seen += batch.num_rows();
            }
        }
        let our = began.elapsed();
        let began = Instant::now();
        let mut stream = plain.do_get(Ticket::default()).await?;
        let mut seen_there = 0;
        while let Some(batch) = stream.try_next().await? {
            seen_there += batch.num_rows();
        }
        let their = began.elapsed();
        if (seen, seen_there) != (rows, rows) {
            return Err(format!("{seen} and {seen_there} rows instead of {rows}").into());
        }
        // The first fills caches.
        if round > 0 {
            ours.push(our);
            theirs.push(their);
        }
    }
    let rate = |times: &mut Vec<Duration>| (rows * COLUMNS * 8) as f64 / median(times).as_secs_f64() / 1e9;
    let (our, their) = (rate(&mut ours), rate(&mut theirs));
    println!("{rows} rows of 64 bytes, median of {rounds}, the two alternating: GB a second");
    println!("kanon {our:.2}, a plain Flight server {their:.2}: ratio {:.2} (target: at least 0.8)", our / their);
    Ok(())
}

fn batches(rows: usize) -> Outcome<Vec<RecordBatch>> {
    let batch = |start: usize| {
        let ids = || (start..rows.min(start + BATCH_ROWS)).map(|i| i as i64);
        let columns = (0..COLUMNS).map(|column| {
            let array: ArrayRef = if column % 2 == 0 {
                Arc::new(Int64Array::from_iter_values(ids().map(|i| i * (column as i64 + 1))))
            } else {
                Arc::new(Float64Array::from_iter_values(ids().map(|i| i as f64 / (column as f64 + 1.0))))
            };
            (format!("c{column}"), array, true)
        });
        Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
    };
    (0..rows).step_by(BATCH_ROWS).map(batch).collect()
}

/// A server that knows nothing but its batches.
struct Plain {
    batches: Arc<Vec<RecordBatch>>,
}

type Answer<T> = Result<Response<T>, Status>;

fn nothing<T>() -> Answer<T> {
    Err(Status::unimplemented("this server has batches only"))
}

#[tonic::async_trait]
impl FlightService for Plain {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;

    async fn do_get(&self, _: Request<Ticket>) -> Answer<Self::DoGetStream> {
        let batches = Arc::clone(&self.batches);
        let rows = futures::stream::iter(0..batches.len()).filter_map(move |at| {
            let batch = batches.get(at).cloned();
            async move { batch.map(Ok) }
        });
        let data = FlightDataEncoderBuilder::new().build(rows);
        Ok(Response::new(data.map_err(|error| Status::internal(error.to_string())).boxed()))
    }

    async fn handshake(&self, _: Request<Streaming<HandshakeRequest>>) -> Answer<Self::HandshakeStream> {
        nothing()
    }
    async fn list_flights(&self, _: Request<Criteria>) -> Answer<Self::ListFlightsStream> {
        nothing()
    }
    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<FlightInfo> {
        nothing()
    }
    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<PollInfo> {
        nothing()
    }
    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Answer<SchemaResult> {
        nothing()
    }
    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        nothing()
    }
    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoExchangeStream> {
        nothing()
    }
    async fn do_action(&self, _: Request<Action>) -> Answer<Self::DoActionStream> {
        nothing()
    }
    async fn list_actions(&self, _: Request<Empty>) -> Answer<Self::ListActionsStream> {
        nothing()
    }
}
