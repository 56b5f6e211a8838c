//! A house whose desks answer from DataFusion, and from streams that never end.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use datafusion::arrow::array::{Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ParamValues;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use kanon_engine::auth::not_taken;
use kanon_engine::error::{Error, Result, Sqlstate};
use kanon_engine::limits::Place;
use kanon_engine::pg_catalog::types::PgType;
use kanon_engine::principal::{AuthMethod, Principal};
use kanon_engine::session::{Answer, Notice, Piece, Rows, TransactionStatus, arrow_of_parameter};
use kanon_pg::desk::{CopyLayout, CopyStyle, Credentials, Desk, House, Planned};
use kanon_pg::{Limits, serve_house};
use ring::{digest, hmac, pbkdf2};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub const USER: &str = "ana";
pub const PASSWORD: &str = "ana's secret";

pub struct TestHouse {
    pub context: SessionContext,
    /// Statements and streams that are alive now.
    pub alive: Arc<AtomicUsize>,
}

fn verifier(password: &str) -> String {
    let salt = b"0123456789abcdef";
    let mut salted = [0u8; 32];
    let rounds = NonZeroU32::new(4096).unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password.as_bytes(), &mut salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let stored = digest::digest(&digest::SHA256, hmac::sign(&key, b"Client Key").as_ref());
    let server = hmac::sign(&key, b"Server Key");
    format!("SCRAM-SHA-256$4096:{}${}:{}", BASE64.encode(salt), BASE64.encode(stored), BASE64.encode(server))
}

#[async_trait]
impl House for TestHouse {
    fn admit(&self, _: IpAddr) -> Result<Place> {
        Ok(Place::uncounted())
    }

    async fn credentials(&self, role: &str, _: IpAddr) -> Result<Credentials> {
        let principal = (role == USER).then(|| Principal {
            name: role.to_owned(),
            roles: Default::default(),
            home_node: kanon_planner_site(),
            auth_method: AuthMethod::ScramSha256,
            credential: None,
            via_peer: None,
            told_roles: std::collections::BTreeSet::new(),
        });
        Ok(Credentials { verifier: verifier(PASSWORD), principal })
    }

    async fn bearer(&self, _: &str) -> Result<Principal> {
        Err(not_taken())
    }

    fn certificate(&self, _: &[CertificateDer<'static>], _: &str) -> Option<Principal> {
        None
    }

    async fn logged_in(&self, _: &Principal, _: IpAddr) -> Result<()> {
        Ok(())
    }

    fn login_failed(&self, _: &str, _: IpAddr) {}

    fn open(&self, _principal: Principal) -> Result<Arc<dyn Desk>> {
        static NEXT: AtomicI32 = AtomicI32::new(1);
        Ok(Arc::new(TestDesk {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            context: self.context.clone(),
            alive: self.alive.clone(),
            status: Mutex::new(TransactionStatus::Idle),
            settings: Mutex::new(HashMap::from([
                ("TimeZone".to_owned(), "UTC".to_owned()),
                ("server_version".to_owned(), kanon_engine::pg_catalog::types::SERVER_VERSION.to_owned()),
                ("client_encoding".to_owned(), "UTF8".to_owned()),
                ("DateStyle".to_owned(), "ISO, MDY".to_owned()),
                ("integer_datetimes".to_owned(), "on".to_owned()),
                ("standard_conforming_strings".to_owned(), "on".to_owned()),
            ])),
        }))
    }
}

fn kanon_planner_site() -> kanon_planner::facts::SiteId {
    kanon_planner::facts::SiteId::new("here".to_owned())
}

struct TestDesk {
    id: i32,
    context: SessionContext,
    alive: Arc<AtomicUsize>,
    status: Mutex<TransactionStatus>,
    settings: Mutex<HashMap<String, String>>,
}

/// Counts something for as long as it lives.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Alive {
        count.fetch_add(1, Ordering::SeqCst);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn numbers_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

/// Numbers without end.
fn endless(alive: Alive) -> SendableRecordBatchStream {
    let batches = futures::stream::unfold((0i64, alive), |(from, alive)| async move {
        tokio::task::yield_now().await;
        let column = Int64Array::from_iter_values(from..from + 8192);
        let batch = RecordBatch::try_new(numbers_schema(), vec![Arc::new(column)]).unwrap();
        Some((Ok(batch), (from + 8192, alive)))
    });
    Box::pin(RecordBatchStreamAdapter::new(numbers_schema(), Box::pin(batches)))
}

fn answer(tag: &str, rows: Option<Rows>) -> Answer {
    Answer { tag: tag.to_owned(), rows, notices: Vec::new(), parameter_status: Vec::new(), report: None }
}

impl TestDesk {
    fn set_status(&self, status: TransactionStatus) {
        *self.status.lock().unwrap() = status;
    }
}

fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_uppercase()
}

#[async_trait]
impl Desk for TestDesk {
    fn id(&self) -> i32 {
        self.id
    }

    fn split(&self, text: &str) -> Result<Vec<Piece>> {
        let mut at = 0;
        let mut pieces = Vec::new();
        for part in text.split(';') {
            if !part.trim().is_empty() {
                pieces.push(Piece { text: part.to_owned(), range: at..at + part.len() });
            }
            at += part.len() + 1;
        }
        Ok(pieces)
    }

    async fn check_syntax(&self, _pieces: &[Piece]) -> std::result::Result<(), (Error, Piece)> {
        Ok(())
    }

    async fn prepare(&self, text: &str, types: &[Option<PgType>]) -> Result<Planned> {
        let mut planned = Planned {
            text: text.to_owned(),
            parameters: Vec::new(),
            schema: None,
            copy: None,
            fails: None,
            inner: Arc::new(()),
        };
        let mut query = text.to_owned();
        match first_word(text).as_str() {
            "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "SET" | "HANG" | "NOTICE" | "DISCARD" => return Ok(planned),
            "FAIL" => {
                self.fail_transaction();
                return Err(Error::new(Sqlstate::SyntaxError, "it fails").at(1).hint("Do not."));
            }
            "ENDLESS" => {
                planned.schema = Some(numbers_schema());
                return Ok(planned);
            }
            "COPY" => {
                let inner = text.split_once('(').unwrap().1;
                let (inner, options) = inner.rsplit_once(") TO STDOUT").unwrap();
                let layout = match options.trim() {
                    "CSV" => CopyLayout::Csv,
                    "BINARY" => CopyLayout::Binary,
                    _ => CopyLayout::Text,
                };
                planned.copy = Some(CopyStyle { header: layout == CopyLayout::Csv, ..CopyStyle::new(layout) });
                query = inner.to_owned();
            }
            _ => {}
        }
        if *self.status.lock().unwrap() == TransactionStatus::Failed {
            return Err(Error::new(Sqlstate::InFailedTransaction, "current transaction is aborted"));
        }
        let plan = self.context.sql(&query).await?.into_unoptimized_plan();
        let named = plan.get_parameter_types()?;
        for at in 1..=named.len() {
            let inferred = named.get(&format!("${at}")).cloned().flatten();
            let told = types.get(at - 1).copied().flatten().and_then(arrow_of_parameter);
            planned.parameters.push(told.or(inferred).unwrap_or(DataType::Utf8).into());
        }
        if planned.copy.is_none() {
            let nulls: Vec<ScalarValue> =
                planned.parameters.iter().map(|of| ScalarValue::try_new_null(&of.data_type).unwrap()).collect();
            let plan = plan.with_param_values(ParamValues::from(nulls))?;
            planned.schema = Some(Arc::new(plan.schema().as_arrow().clone()));
        }
        planned.inner = Arc::new(query);
        Ok(planned)
    }

    async fn execute(&self, planned: &Planned, parameters: Vec<ScalarValue>) -> Result<Answer> {
        let alive = Alive::new(&self.alive);
        let word = first_word(&planned.text);
        match word.as_str() {
            "BEGIN" | "START" => self.set_status(TransactionStatus::InTransaction),
            "COMMIT" | "ROLLBACK" => self.set_status(TransactionStatus::Idle),
            "SET" => {
                let (name, value) = planned.text.trim()[4..].split_once('=').unwrap();
                self.set(name.trim(), value.trim().trim_matches('\''))?;
                let mut answer = answer("SET", None);
                answer.parameter_status.push((name.trim().to_owned(), value.trim().trim_matches('\'').to_owned()));
                return Ok(answer);
            }
            "HANG" => std::future::pending().await,
            "NOTICE" => {
                let mut answer = answer("NOTICE", None);
                answer.notices.push(Notice::new("two sites answered"));
                return Ok(answer);
            }
            "DISCARD" => return Ok(answer("DISCARD ALL", None)),
            "ENDLESS" => {
                let rows = Rows { schema: numbers_schema(), stream: endless(alive) };
                return Ok(answer("SELECT", Some(rows)));
            }
            _ => {
                let query = planned.inner.downcast_ref::<String>().unwrap();
                let frame = self.context.sql(query).await?;
                let frame = frame.with_param_values(ParamValues::from(parameters))?;
                let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
                let stream = frame.execute_stream().await?;
                let tag = if word == "COPY" { "COPY" } else { "SELECT" };
                return Ok(answer(tag, Some(Rows { schema, stream })));
            }
        }
        Ok(answer(&word, None))
    }

    fn cancel(&self) {}

    fn begin_text(&self) {}

    fn end_text(&self) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    fn fail_transaction(&self) {
        let mut status = self.status.lock().unwrap();
        if *status == TransactionStatus::InTransaction {
            *status = TransactionStatus::Failed;
        }
    }

    fn transaction_status(&self) -> TransactionStatus {
        *self.status.lock().unwrap()
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.settings.lock().unwrap().get(name).cloned()
    }

    fn reported_settings(&self) -> Vec<(String, String)> {
        self.settings.lock().unwrap().clone().into_iter().collect()
    }

    fn cursor_schema(&self, _name: &str) -> Option<SchemaRef> {
        None
    }

    fn is_kept(&self, _name: &str) -> bool {
        false
    }

    fn keep(&self, _name: &str, _planned: &Planned, _types: &[u32]) {}

    fn forget(&self, _name: &str) {}

    fn ended(&self) -> CancellationToken {
        CancellationToken::new()
    }

    fn set(&self, name: &str, value: &str) -> Result<()> {
        if name == "no_such_setting" {
            let message = format!("unrecognized configuration parameter \"{name}\"");
            return Err(Error::new(Sqlstate::UndefinedObject, message));
        }
        self.settings.lock().unwrap().insert(name.to_owned(), value.to_owned());
        Ok(())
    }
}

/// A running listener.
pub struct Running {
    pub address: SocketAddr,
    pub alive: Arc<AtomicUsize>,
    pub shutdown: CancellationToken,
    pub ended: tokio::task::JoinHandle<Result<()>>,
}

pub async fn start() -> Running {
    start_with(Limits::default()).await
}

pub async fn start_with(limits: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let alive = Arc::new(AtomicUsize::new(0));
    let house = Arc::new(TestHouse { context: SessionContext::new(), alive: alive.clone() });
    let shutdown = CancellationToken::new();
    let ended = tokio::spawn(serve_house(house, limits, listener, None, shutdown.clone()));
    Running { address, alive, shutdown, ended }
}
