//! The commands of Flight SQL over sessions.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command, CommandGetCatalogs,
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementIngest, CommandStatementQuery,
    CommandStatementUpdate, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage,
    SchemaAsIpc, SchemaResult, Ticket,
};
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::arrow::ipc::writer::IpcWriteOptions;
use datafusion::scalar::ScalarValue;
use futures::{Stream, StreamExt as _};
use kanon_engine::error::{Error, Result as KanonResult, Sqlstate};
use kanon_engine::federation::invite::INVITE_HEADER;
use kanon_engine::federation::wire::to_status;
use kanon_engine::node::Node;
use kanon_engine::session::{Answer, Prepared, Session};
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};

use crate::actions;
use crate::handles::Handles;
use crate::info;
use crate::listener::ConnectionInfo;
use crate::logins::{Login, Logins, Shown, address};
use crate::running::Running;
use crate::stream::{self, FlightStream, public_schema};
use crate::types;
use crate::values::bound_values;

/// Statements that were asked for and not fetched, over all clients; and how long they wait.
const MAX_STATEMENTS: usize = 10_000;
const STATEMENT_IDLE: Duration = Duration::from_secs(600);
/// Prepared statements, over all clients; and how long they are kept unused.
const MAX_PREPARED: usize = 10_000;
pub(crate) const PREPARED_IDLE: Duration = Duration::from_secs(3600);

/// A statement that a client comes back for.
pub(crate) struct Statement {
    pub(crate) login: Arc<Login>,
    prepared: Arc<Prepared>,
    /// The values bound last.
    parameters: Mutex<Vec<ScalarValue>>,
    /// What it answered, if it ran already: see [`Service::run_now`].
    answered: Mutex<Option<Answer>>,
}

/// Flight SQL over a node's sessions.
pub(crate) struct Service {
    pub(crate) node: Arc<Node>,
    pub(crate) logins: Arc<Logins>,
    pub(crate) statements: Handles<Statement>,
    pub(crate) prepared: Handles<Statement>,
    pub(crate) running: Arc<Running>,
}

pub(crate) type StatusResult<T> = Result<T, Status>;

pub(crate) fn failed(error: Error) -> Status {
    to_status(&error)
}

impl Service {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Service {
            logins: Arc::new(Logins::new(Arc::clone(&node))),
            node,
            statements: Handles::new(MAX_STATEMENTS, STATEMENT_IDLE),
            prepared: Handles::new(MAX_PREPARED, PREPARED_IDLE),
            running: Arc::default(),
        }
    }

    /// The login of a call. It keeps nothing of the call, whose body need not be shared among threads.
    pub(crate) fn login<T>(&self, request: &Request<T>) -> impl Future<Output = StatusResult<Arc<Login>>> + Send {
        let shown = Shown::by(request.metadata());
        let connection = request.extensions().get::<ConnectionInfo>().cloned();
        async move { self.logins.of(shown, connection.as_ref()).await.map_err(failed) }
    }

    /// A prepared statement by its handle, if this login made it.
    pub(crate) fn prepared(&self, handle: &[u8], login: &Arc<Login>) -> StatusResult<Arc<Statement>> {
        name(handle)
            .and_then(|n| self.prepared.get(n))
            .filter(|s| Arc::ptr_eq(&s.login, login))
            .ok_or_else(unknown_statement)
    }

    /// Runs a statement that answers no rows (SET, BEGIN, a steward's) when it is asked for and not when its empty answer is fetched:
    /// drivers do not fetch what has no columns before they go on. Gives a handle of what it said.
    async fn run_now(&self, statement: &Statement) -> StatusResult<String> {
        let values = statement.parameters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = statement.login.session.execute(&statement.prepared, values).await.map_err(failed)?;
        let done = Statement {
            login: Arc::clone(&statement.login),
            prepared: Arc::clone(&statement.prepared),
            parameters: Mutex::default(),
            answered: Mutex::new(Some(answer)),
        };
        self.statements.insert(&statement.login.role, Arc::new(done)).map_err(failed)
    }

    async fn run(&self, handle: &str, statement: &Statement) -> StatusResult<FlightStream> {
        if let Some(answer) = statement.answered.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(stream::encode(answer, Arc::clone(&statement.login.session)));
        }
        let values = statement.parameters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let wanted = statement.prepared.parameters.len();
        if values.len() != wanted {
            let message = format!("the statement has {wanted} parameters, and {} were bound", values.len());
            return Err(failed(Error::new(Sqlstate::ProtocolViolation, message)));
        }
        let session = Arc::clone(&statement.login.session);
        let run = self.running.begin(handle, &statement.login);
        let answer = run.guard(session.execute(&statement.prepared, values)).await.map_err(failed)?;
        Ok(run.rows(stream::encode(answer, session)))
    }

    async fn update(&self, session: &Arc<Session>, prepared: &Prepared, values: Vec<ScalarValue>) -> KanonResult<i64> {
        let answer: Answer = session.execute(prepared, values).await?;
        let Some(mut rows) = answer.rows else { return Ok(0) };
        let mut count = 0;
        while let Some(batch) = rows.stream.next().await {
            count += i64::try_from(batch?.num_rows()).unwrap_or(0);
        }
        Ok(count)
    }

    /// The columns of an answer, without running anything.
    pub(crate) async fn schema_of(&self, request: Request<FlightDescriptor>) -> StatusResult<SchemaResult> {
        let unreadable = |_| failed(Error::new(Sqlstate::ProtocolViolation, "the command cannot be read"));
        let any = Any::decode(&*request.get_ref().cmd).map_err(|_| unreadable(()))?;
        let schema = match Command::try_from(any).map_err(|_| unreadable(()))? {
            Command::CommandStatementQuery(query) => {
                let login = self.login(&request).await?;
                answer_schema(&prepare_one(&login.session, &query.query).await.map_err(failed)?)
            }
            Command::CommandPreparedStatementQuery(query) => {
                let login = self.login(&request).await?;
                let statement = self.prepared(&query.prepared_statement_handle, &login)?;
                bound_schema(&statement).await?
            }
            // What the catalog answers is described without being run.
            _ => {
                let info = FlightService::get_flight_info(self, request).await?.into_inner();
                info.try_decode_schema().map_err(|e| failed(Error::internal(e)))?
            }
        };
        let options = IpcWriteOptions::default();
        SchemaAsIpc::new(&schema, &options).try_into().map_err(|e| failed(Error::internal(e)))
    }

    /// An answer that the client fetches with the very command it asked with.
    async fn info(
        &self,
        command: impl ProstMessageExt + Send,
        schema: &Schema,
        request: Request<FlightDescriptor>,
    ) -> StatusResult<Response<FlightInfo>> {
        self.login(&request).await?;
        flight_info(command, schema, request.into_inner())
    }
}

/// Reads the one statement of a text and plans it.
async fn prepare_one(session: &Session, text: &str) -> KanonResult<Prepared> {
    let mut pieces = session.split(text)?;
    let one = |what: &str| Error::new(Sqlstate::SyntaxError, format!("{what} where one statement is expected"));
    match (pieces.pop(), pieces.is_empty()) {
        (Some(piece), true) => session.prepare(&piece.text, &[]).await,
        (Some(_), false) => Err(one("several statements")),
        (None, _) => Err(one("no statement")),
    }
}

fn answer_schema(prepared: &Prepared) -> Schema {
    prepared.schema.as_ref().map_or_else(Schema::empty, |s| stream::answer_schema(s).as_ref().clone())
}

/// The columns that a prepared statement will answer, with the values that are bound.
async fn bound_schema(statement: &Statement) -> StatusResult<Schema> {
    let values = statement.parameters.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let columns = statement.login.session.columns_with(&statement.prepared, values).await.map_err(failed)?;
    Ok(columns.map_or_else(Schema::empty, |schema| stream::answer_schema(&schema).as_ref().clone()))
}

fn flight_info(
    ticket: impl ProstMessageExt,
    schema: &Schema,
    descriptor: FlightDescriptor,
) -> StatusResult<Response<FlightInfo>> {
    let ticket = Ticket { ticket: ticket.as_any().encode_to_vec().into() };
    // Numbers of rows and bytes stay unknown: they would be counts that nobody released.
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(|e| failed(Error::internal(e)))?
        .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
        .with_descriptor(descriptor)
        .with_total_records(-1)
        .with_total_bytes(-1);
    Ok(Response::new(info))
}

fn one_batch(batch: Result<RecordBatch, FlightError>) -> StatusResult<Response<FlightStream>> {
    let batch = batch.map_err(|e| failed(Error::internal(e)))?;
    Ok(Response::new(stream::batch(batch, Bytes::new())))
}

fn no_rows(schema: Schema) -> StatusResult<Response<FlightStream>> {
    one_batch(Ok(RecordBatch::new_empty(Arc::new(schema))))
}

pub(crate) fn name(handle: &[u8]) -> Option<&str> {
    std::str::from_utf8(handle).ok()
}

pub(crate) fn unknown_statement() -> Status {
    failed(Error::new(Sqlstate::InvalidStatementName, "the statement does not exist or has expired").hint("Ask again."))
}

fn read_only(what: &str) -> Status {
    failed(Error::new(Sqlstate::ReadOnlyTransaction, format!("cannot execute {what} in a read-only transaction")))
}

fn ipc_schema(schema: &Schema) -> StatusResult<Bytes> {
    let message: IpcMessage =
        SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into().map_err(|e| failed(Error::internal(e)))?;
    Ok(message.0)
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Service;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> StatusResult<Response<Pin<Box<dyn Stream<Item = StatusResult<HandshakeResponse>> + Send>>>> {
        let connection = request.extensions().get::<ConnectionInfo>().cloned();
        if let Some(acceptance) = request.metadata().get(INVITE_HEADER) {
            // From whoever: it is no peer yet, and no user.
            let from = address(connection.as_ref());
            let id = self.node.answer_acceptance(from, acceptance.as_bytes()).await.map_err(failed)?;
            let answer = HandshakeResponse { protocol_version: 0, payload: id.into() };
            return Ok(Response::new(Box::pin(futures::stream::once(async { Ok(answer) }))));
        }
        let token = self.logins.log_in(request.metadata(), connection.as_ref()).await.map_err(failed)?;
        let header = format!("Bearer {token}").parse().map_err(|e| failed(Error::internal(e)))?;
        let answer = HandshakeResponse { protocol_version: 0, payload: token.into() };
        let mut response: Response<Pin<Box<dyn Stream<Item = StatusResult<HandshakeResponse>> + Send>>> =
            Response::new(Box::pin(futures::stream::once(async { Ok(answer) })));
        response.metadata_mut().insert("authorization", header);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> StatusResult<Response<FlightInfo>> {
        let login = self.login(&request).await?;
        let prepared = prepare_one(&login.session, &query.query).await.map_err(failed)?;
        let schema = answer_schema(&prepared);
        let statement =
            Statement { login, prepared: Arc::new(prepared), parameters: Mutex::default(), answered: Mutex::default() };
        let handle = match statement.prepared.schema {
            None if statement.prepared.copy().is_none() => self.run_now(&statement).await?,
            _ => self.statements.insert(&statement.login.role.clone(), Arc::new(statement)).map_err(failed)?,
        };
        flight_info(TicketStatementQuery { statement_handle: handle.into() }, &schema, request.into_inner())
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> StatusResult<Response<FlightInfo>> {
        let login = self.login(&request).await?;
        let statement = self.prepared(&query.prepared_statement_handle, &login)?;
        if statement.prepared.schema.is_none() && statement.prepared.copy().is_none() {
            let handle = self.run_now(&statement).await?;
            let ticket = TicketStatementQuery { statement_handle: handle.into() };
            return flight_info(ticket, &Schema::empty(), request.into_inner());
        }
        let schema = bound_schema(&statement).await?;
        flight_info(query, &schema, request.into_inner())
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> StatusResult<Response<FlightInfo>> {
        let schema = query.into_builder().schema();
        self.info(query, &schema, request).await
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> StatusResult<Response<FlightInfo>> {
        let schema = query.clone().into_builder().schema();
        self.info(query, &schema, request).await
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> StatusResult<Response<FlightInfo>> {
        let schema = query.clone().into_builder().schema();
        self.info(query, &schema, request).await
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> StatusResult<Response<FlightInfo>> {
        let schema = query.into_builder().schema();
        self.info(query, &schema, request).await
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> StatusResult<Response<FlightInfo>> {
        let schema = info::sql_info().map_err(failed)?.schema();
        self.info(query, &schema, request).await
    }

    async fn get_flight_info_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> StatusResult<Response<FlightInfo>> {
        self.info(query, &info::primary_keys(), request).await
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> StatusResult<Response<FlightInfo>> {
        self.info(query, &info::foreign_keys(), request).await
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> StatusResult<Response<FlightInfo>> {
        self.info(query, &info::foreign_keys(), request).await
    }

    async fn get_flight_info_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> StatusResult<Response<FlightInfo>> {
        self.info(query, &info::foreign_keys(), request).await
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> StatusResult<Response<FlightInfo>> {
        let schema = types::xdbc_type_info().map_err(failed)?.schema();
        self.info(query, &schema, request).await
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> StatusResult<Response<FlightStream>> {
        let connection = request.extensions().get::<ConnectionInfo>().cloned();
        // A peer's handle is the statement itself: its ticket is for that text and no other.
        let sql = name(&ticket.statement_handle).unwrap_or_default();
        if let Some(session) =
            self.logins.of_peer(request.metadata(), connection.as_ref(), sql).await.map_err(failed)?
        {
            let prepared = prepare_one(&session, sql).await.map_err(failed)?;
            if prepared.schema.is_none() {
                let refused = Error::new(Sqlstate::InsufficientPrivilege, "peers may only ask queries");
                self.node.audit.turned_away(session.opened_by(), refused.state.code());
                return Err(failed(refused));
            }
            let answer = session.execute(&prepared, Vec::new()).await.map_err(failed)?;
            return Ok(Response::new(stream::encode(answer, session)));
        }
        let login = self.login(&request).await?;
        // Whoever else's handle it is, it stays theirs.
        self.statements.get(sql).filter(|s| Arc::ptr_eq(&s.login, &login)).ok_or_else(unknown_statement)?;
        let statement = self.statements.remove(sql).ok_or_else(unknown_statement)?;
        Ok(Response::new(self.run(sql, &statement).await?))
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> StatusResult<Response<FlightStream>> {
        let login = self.login(&request).await?;
        let statement = self.prepared(&query.prepared_statement_handle, &login)?;
        let handle = name(&query.prepared_statement_handle).unwrap_or_default();
        Ok(Response::new(self.run(handle, &statement).await?))
    }

    async fn do_get_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<Ticket>,
    ) -> StatusResult<Response<FlightStream>> {
        self.login(&request).await?;
        let mut builder = query.into_builder();
        builder.append(info::CATALOG);
        one_batch(builder.build())
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<Ticket>,
    ) -> StatusResult<Response<FlightStream>> {
        let login = self.login(&request).await?;
        let tables = self.node.catalog.snapshot().visible_to(&login.session.principal());
        let mut schemas: Vec<&str> = tables.iter().map(|t| t.schema_name.as_str()).collect();
        schemas.extend(["public", "kanon", "pg_catalog", "information_schema"]);
        schemas.sort_unstable();
        schemas.dedup();
        let mut builder = query.into_builder();
        for schema in schemas {
            builder.append(info::CATALOG, schema);
        }
        one_batch(builder.build())
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        request: Request<Ticket>,
    ) -> StatusResult<Response<FlightStream>> {
        let login = self.login(&request).await?;
        let mut builder = query.into_builder();
        for table in self.node.catalog.snapshot().visible_to(&login.session.principal()) {
            builder
                .append(info::CATALOG, &table.schema_name, &table.name, "TABLE", &public_schema(&table.schema))
                .map_err(|e| failed(Error::internal(e)))?;
        }
        one_batch(builder.build())
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<Ticket>,
    ) -> StatusResult<Response<FlightStream>> {
        self.login(&request).await?;
        let mut builder = query.into_builder();
        builder.append("TABLE");
        one_batch(builder.build())
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<Ticket>,
    ) -> StatusResult<Response<FlightStream>> {
        self.login(&request).await?;
        let info = info::sql_info().map_err(failed)?;
        one_batch(query.into_builder(&info).build())
    }

    async fn do_get_primary_keys(
        &self,
        _query: CommandGetPrimaryKeys,
        request: Request<Ticket>,
    ) -> StatusResult<Response<FlightStream>> {
        self.login(&request).await?;
        no_rows(info::primary_keys())
    }

    async fn do_get_exported_keys(
        &self,
        _query: CommandGetExportedKeys,
        request: Request<Ticket>,
    ) -> StatusResult<Response<FlightStream>> {
        self.login(&request).await?;
        no_rows(info::foreign_keys())
    }

    async fn do_get_imported_keys(
        &self,
        _query: CommandGetImportedKeys,
        request: Request<Ticket>,
    ) -> StatusResult<Response<FlightStream>> {
        self.login(&request).await?;
        no_rows(info::foreign_keys())
    }

    async fn do_get_cross_reference(
        &self,
        _query: CommandGetCrossReference,
        request: Request<Ticket>,
    ) -> StatusResult<Response<FlightStream>> {
        self.login(&request).await?;
        no_rows(info::foreign_keys())
    }

    async fn do_get_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<Ticket>,
    ) -> StatusResult<Response<FlightStream>> {
        self.login(&request).await?;
        let info = types::xdbc_type_info().map_err(failed)?;
        one_batch(query.into_builder(&info).build())
    }

    async fn do_put_statement_update(
        &self,
        command: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> StatusResult<i64> {
        let login = self.login(&request).await?;
        let prepared = prepare_one(&login.session, &command.query).await.map_err(failed)?;
        self.update(&login.session, &prepared, Vec::new()).await.map_err(failed)
    }

    async fn do_put_statement_ingest(
        &self,
        _command: CommandStatementIngest,
        request: Request<PeekableFlightDataStream>,
    ) -> StatusResult<i64> {
        self.login(&request).await?;
        Err(read_only("INSERT"))
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> StatusResult<DoPutPreparedStatementResult> {
        let login = self.login(&request).await?;
        let statement = self.prepared(&query.prepared_statement_handle, &login)?;
        let mut rows = bound_values(request, &statement.prepared).await?;
        if rows.len() > 1 {
            return Err(failed(Error::unsupported("a query with several rows of parameters")));
        }
        *statement.parameters.lock().unwrap_or_else(PoisonError::into_inner) = rows.pop().unwrap_or_default();
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(query.prepared_statement_handle) })
    }

    async fn do_put_prepared_statement_update(
        &self,
        query: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> StatusResult<i64> {
        let login = self.login(&request).await?;
        let statement = self.prepared(&query.prepared_statement_handle, &login)?;
        let mut rows = bound_values(request, &statement.prepared).await?;
        if rows.is_empty() {
            rows.push(Vec::new());
        }
        let mut count = 0;
        for values in rows {
            count += self.update(&statement.login.session, &statement.prepared, values).await.map_err(failed)?;
        }
        Ok(count)
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> StatusResult<ActionCreatePreparedStatementResult> {
        let login = self.login(&request).await?;
        let prepared = prepare_one(&login.session, &query.query).await.map_err(failed)?;
        let parameters: Vec<Field> = prepared
            .parameters
            .iter()
            .enumerate()
            .map(|(i, of)| Field::new(format!("${}", i + 1), of.data_type.clone(), true))
            .collect();
        let dataset_schema = ipc_schema(&answer_schema(&prepared))?;
        let parameter_schema = ipc_schema(&Schema::new(parameters))?;
        let statement =
            Statement { login, prepared: Arc::new(prepared), parameters: Mutex::default(), answered: Mutex::default() };
        let handle = self.prepared.insert(&statement.login.role.clone(), Arc::new(statement)).map_err(failed)?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into(),
            dataset_schema,
            parameter_schema,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> StatusResult<()> {
        let login = self.login(&request).await?;
        self.prepared(&query.prepared_statement_handle, &login)?;
        if let Some(handle) = name(&query.prepared_statement_handle) {
            self.prepared.remove(handle);
        }
        Ok(())
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> StatusResult<Response<<Self as FlightService>::DoActionStream>> {
        self.act(request).await
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> StatusResult<ActionCancelQueryResult> {
        // The older action numbers its answers as the newer one does.
        let login = self.login(&request).await?;
        Ok(ActionCancelQueryResult { result: self.cancel(&query.info, &login)?.into() })
    }

    async fn list_custom_actions(&self) -> Option<Vec<StatusResult<ActionType>>> {
        Some(actions::listed().map(Ok).collect())
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
