//! One connection after start-up: reads messages, runs statements, says when it is ready.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::scalar::ScalarValue;
use kanon_engine::error::{Error, Sqlstate};
use kanon_engine::session::settings::parse_duration_ms;
use kanon_engine::session::{Answer, Piece, TransactionStatus};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus as WireStatus};
use pgwire::messages::startup::ParameterStatus;
use tokio::time::Instant;

use crate::cancel::Cancelable;
use crate::desk::{Desk, Planned};
use crate::encode::time::Zone;
use crate::error::{Severity, put, put_error};
use crate::extended::Extended;
use crate::message::{Frontend, next_frame};
use crate::running::{Running, Stop, answered_schema, put_row_description};
use crate::server::Server;
use crate::wire::{Guard, Interrupt, Wire, guarded};

/// A client that is logged in.
pub struct Connection {
    /// Its socket.
    pub wire: Wire,
    /// Its session.
    pub desk: Arc<dyn Desk>,
    /// How others stop what it runs.
    pub cancelable: Arc<Cancelable>,
    /// What all connections share.
    pub server: Arc<Server>,
    /// Statements and portals of the extended protocol.
    pub extended: Extended,
    /// After an error, messages are skipped until Sync.
    skipping: bool,
    /// How long the client may stay silent, while it is its turn.
    patience: Option<Patience>,
    /// The settings that clients are told of, as this one was told last.
    told: HashMap<String, String>,
    /// Those that statements changed since.
    changed: Vec<(String, String)>,
}

/// When a client that is to send a statement has been silent for too long.
struct Patience {
    ends: Instant,
    state: Sqlstate,
    message: &'static str,
}

impl Connection {
    /// Over a socket whose start-up is done, up to the first ReadyForQuery.
    pub fn new(wire: Wire, desk: Arc<dyn Desk>, cancelable: Arc<Cancelable>, server: Arc<Server>) -> Connection {
        let told = desk.reported_settings().into_iter().collect();
        let extended = Extended::default();
        Connection {
            wire,
            desk,
            cancelable,
            server,
            extended,
            skipping: false,
            patience: None,
            told,
            changed: Vec::new(),
        }
    }

    /// Serves the client until it leaves, or the node stops.
    pub async fn serve(mut self) {
        let end = self.converse().await;
        self.desk.cancel();
        if let Err(Stop::Fatal(error) | Stop::Error(error)) = end {
            let _ = put_error(&error, Severity::Fatal, &mut self.wire.writer.buffer);
        }
        // What runs or waits in portals must not outlive the client.
        let Connection { wire, extended, .. } = self;
        drop(extended);
        wire.close().await;
    }

    async fn converse(&mut self) -> Result<(), Stop> {
        self.ready()?;
        loop {
            let frame = loop {
                match next_frame(&mut self.wire.reader.buffer, true).map_err(Stop::Fatal)? {
                    Some(frame) => break frame,
                    None => self.wait().await?,
                }
            };
            self.patience = None;
            if self.skipping && !matches!(frame.kind, b'S' | b'X') {
                continue;
            }
            let extended = frame.is_extended();
            let outcome = match frame.read() {
                Ok(Frontend::Terminate) => return Ok(()),
                Ok(message) => self.handle(message).await,
                Err(error) => Err(Stop::Error(error)),
            };
            match outcome {
                Ok(()) => {}
                Err(Stop::Error(_)) if self.desk.ended().is_cancelled() => {
                    return Err(Stop::Fatal(Error::terminated()));
                }
                Err(Stop::Error(error)) => {
                    self.fail(&error)?;
                    if extended {
                        self.skipping = true;
                    } else {
                        self.ready()?;
                    }
                }
                Err(other) => return Err(other),
            }
        }
    }

    /// Sends what there is and waits for the client.
    async fn wait(&mut self) -> Result<(), Stop> {
        let stopping = self.server.shutdown.clone();
        let ended = self.desk.ended();
        let silent_for_too_long = async {
            match &self.patience {
                Some(patience) => {
                    tokio::time::sleep_until(patience.ends).await;
                    Error::new(patience.state, patience.message)
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stopping.cancelled() => Err(Stop::Fatal(Error::terminated())),
            () = ended.cancelled() => Err(Stop::Fatal(Error::terminated())),
            sent = self.wire.writer.flush(), if !self.wire.writer.buffer.is_empty() => Ok(sent?),
            more = self.wire.reader.fill(), if self.wire.writer.buffer.is_empty() => Ok(more?),
            error = silent_for_too_long => Err(Stop::Fatal(error)),
        }
    }

    async fn handle(&mut self, message: Frontend) -> Result<(), Stop> {
        match message {
            Frontend::Query(text) => {
                self.simple(&text).await?;
                self.ready()?;
                Ok(())
            }
            Frontend::Sync => {
                self.skipping = false;
                self.ready()?;
                Ok(())
            }
            Frontend::Flush => Ok(self.wire.writer.flush().await?),
            Frontend::Parse { name, text, types } => self.parse(name, &text, &types).await,
            Frontend::Bind(bind) => self.bind(bind),
            Frontend::Describe(target, name) => self.describe(target, &name),
            Frontend::Execute { portal, max_rows } => self.execute(&portal, max_rows).await,
            Frontend::Close(target, name) => self.close(target, &name),
            Frontend::FunctionCall => Err(Error::unsupported("function call messages are not supported").into()),
            Frontend::Password(_) => {
                Err(Stop::Fatal(Error::new(Sqlstate::ProtocolViolation, "invalid frontend message type 112")))
            }
            Frontend::Copy | Frontend::Terminate => Ok(()),
        }
    }

    /// An error is told, and an open transaction fails.
    fn fail(&mut self, error: &Error) -> Result<(), Stop> {
        self.desk.fail_transaction();
        put_error(error, Severity::Error, &mut self.wire.writer.buffer).map_err(Stop::Fatal)
    }

    fn ready(&mut self) -> Result<(), Stop> {
        let status = match self.desk.transaction_status() {
            TransactionStatus::Idle => WireStatus::Idle,
            TransactionStatus::InTransaction => WireStatus::Transaction,
            TransactionStatus::Failed => WireStatus::Error,
        };
        if status == WireStatus::Idle {
            self.extended.portals.clear();
        }
        self.patience = self.patience_for(status);
        self.tell_changes().map_err(Stop::Fatal)?;
        put(&ReadyForQuery::new(status), &mut self.wire.writer.buffer).map_err(Stop::Fatal)
    }

    /// Settings are told of once the client's turn comes, each with its last value, if it is another than the client knows.
    fn tell_changes(&mut self) -> Result<(), Error> {
        let last: BTreeMap<String, (String, String)> =
            self.changed.drain(..).map(|(name, value)| (name.to_lowercase(), (name, value))).collect();
        for (name, value) in last.into_values() {
            if self.told.insert(name.clone(), value.clone()).as_ref() != Some(&value) {
                put(&ParameterStatus::new(name, value), &mut self.wire.writer.buffer)?;
            }
        }
        Ok(())
    }

    /// How long the client may now take to send its next statement, as in PostgreSQL from ReadyForQuery on.
    fn patience_for(&self, status: WireStatus) -> Option<Patience> {
        let (setting, state, message) = match status {
            WireStatus::Idle => (
                "idle_session_timeout",
                Sqlstate::IdleSessionTimeout,
                "terminating connection due to idle-session timeout",
            ),
            WireStatus::Transaction | WireStatus::Error => (
                "idle_in_transaction_session_timeout",
                Sqlstate::IdleInTransactionTimeout,
                "terminating connection due to idle-in-transaction timeout",
            ),
        };
        Some(Patience { ends: Instant::now() + self.time_setting(setting)?, state, message })
    }

    /// A setting that is a time; `None` for 0.
    fn time_setting(&self, name: &str) -> Option<Duration> {
        let ms = self.desk.setting(name).as_deref().and_then(parse_duration_ms).filter(|ms| *ms > 0)?;
        Some(Duration::from_millis(ms))
    }

    /// The simple protocol: any number of statements in one text; after an error the rest is not run.
    async fn simple(&mut self, text: &str) -> Result<(), Stop> {
        self.extended.forget_unnamed();
        let pieces = self.desk.split(text)?;
        if pieces.is_empty() {
            put(&EmptyQueryResponse::new(), &mut self.wire.writer.buffer)?;
        }
        if pieces.len() > 1 {
            let checked = self.desk.check_syntax(&pieces).await;
            checked.map_err(|(error, piece)| in_whole(error, text, &piece))?;
        }
        let mut outcome = Ok(());
        for piece in &pieces {
            if pieces.len() > 1 {
                self.desk.begin_text();
            }
            outcome = self.run_piece(piece).await.map_err(|stop| match stop {
                Stop::Error(error) => Stop::Error(in_whole(error, text, piece)),
                other => other,
            });
            if outcome.is_err() {
                self.desk.fail_transaction();
                break;
            }
        }
        self.changed.extend(self.desk.end_text()?);
        outcome
    }

    async fn run_piece(&mut self, piece: &Piece) -> Result<(), Stop> {
        if self.deallocated(&piece.text) {
            return Ok(put(&CommandComplete::new("DEALLOCATE".to_owned()), &mut self.wire.writer.buffer)?);
        }
        let mut guard = self.begin();
        let desk = self.desk.clone();
        let prepared = self.during(&guard, desk.prepare(&piece.text, &[])).await??;
        if !prepared.parameters.is_empty() {
            return Err(Error::new(Sqlstate::UndefinedParameter, "there is no parameter $1").into());
        }
        let answer = self.execute_during(&mut guard, &prepared, Vec::new()).await?;
        let mut running = if let Some(style) = &prepared.copy {
            Running::copy(answer, style, self.zone())?
        } else {
            let schema = self.schema_of(&prepared, &answer);
            if let Some(schema) = &schema {
                put_row_description(schema, &[], &mut self.wire.writer.buffer)?;
            }
            Running::new(answer, schema.as_deref(), &[], self.zone())?
        };
        let (rows, _) = self.send(&guard, &mut running, 0).await?;
        self.finish(running, rows)
    }

    /// What the rows of an answer are described by.
    fn schema_of(&self, prepared: &Planned, answer: &Answer) -> Option<SchemaRef> {
        let rows = answer.rows.as_ref()?;
        Some(answered_schema(prepared.schema.as_ref(), rows).unwrap_or_else(|| rows.schema.clone()))
    }

    /// The session's zone, as rows are printed from now on.
    pub fn zone(&self) -> Zone {
        Zone::parse(self.desk.setting("TimeZone").as_deref().unwrap_or("UTC"))
    }

    /// Sends rows of an answer while the socket and the guard are watched.
    pub async fn send(
        &mut self,
        guard: &Guard,
        running: &mut Running,
        max_rows: u64,
    ) -> Result<(u64, crate::running::Progress), Stop> {
        let Wire { reader, writer } = &mut self.wire;
        match guarded(reader, guard, running.send(writer, max_rows)).await {
            Ok(sent) => sent,
            Err(why) => Err(self.interrupted(why)),
        }
    }

    /// Ends a statement that went well.
    pub fn finish(&mut self, running: Running, rows: u64) -> Result<(), Stop> {
        self.cancelable.end();
        if matches!(running.tag.as_str(), "DISCARD ALL" | "DEALLOCATE ALL") {
            self.extended.statements.clear();
        }
        let min_messages = self.desk.setting("client_min_messages").unwrap_or_default();
        let changed = running.complete(rows, &min_messages, &mut self.wire.writer.buffer)?;
        self.changed.extend(changed);
        Ok(())
    }

    /// Runs work of the session while the socket and the guard are watched.
    pub async fn during<T>(&mut self, guard: &Guard, work: impl Future<Output = T>) -> Result<T, Stop> {
        match guarded(&mut self.wire.reader, guard, work).await {
            Ok(done) => Ok(done),
            Err(why) => Err(self.interrupted(why)),
        }
    }

    /// Executes a statement while the socket and the guard are watched. How long a release may take depends on what it releases, which the desk knows: it
    /// keeps the time, and the guard has it from then on.
    pub async fn execute_during(
        &mut self,
        guard: &mut Guard,
        prepared: &Planned,
        parameters: Vec<ScalarValue>,
    ) -> Result<Answer, Stop> {
        let desk = self.desk.clone();
        if desk.keeps_time() {
            guard.deadline = None;
        }
        let answer = self.during(guard, desk.execute(prepared, parameters)).await??;
        if desk.keeps_time() {
            guard.deadline = desk.deadline();
        }
        Ok(answer)
    }

    fn interrupted(&mut self, why: Interrupt) -> Stop {
        self.cancelable.end();
        self.desk.cancel();
        match why {
            Interrupt::Gone => Stop::Gone,
            Interrupt::Ended => Stop::Fatal(Error::terminated()),
            Interrupt::Canceled => Stop::Error(Error::cancelled()),
            Interrupt::TimedOut => {
                Stop::Error(Error::new(Sqlstate::QueryCanceled, "canceling statement due to statement timeout"))
            }
        }
    }

    /// A statement begins: it can be cancelled from now on, and has its time.
    pub fn begin(&self) -> Guard {
        let own = self.time_setting("statement_timeout");
        let timeout = match (own, self.server.limits.statement_timeout) {
            (Some(own), Some(all)) => Some(own.min(all)),
            (own, all) => own.or(all),
        };
        Guard {
            canceled: self.cancelable.begin(),
            ended: self.desk.ended(),
            deadline: timeout.map(|timeout| Instant::now() + timeout),
        }
    }
}

/// An error in a piece of a text, with its position in the whole.
pub fn in_whole(mut error: Error, text: &str, piece: &Piece) -> Error {
    if let Some(position) = &mut error.position {
        *position += text.get(..piece.range.start).map_or(0, |before| before.chars().count());
    }
    error
}
