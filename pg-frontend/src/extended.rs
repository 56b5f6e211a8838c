//! The extended protocol: statements are parsed once, bound to parameters as portals, and run in portions.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use kanon_engine::error::{Error, Sqlstate};
use kanon_engine::pg_catalog::types::PgType;
use kanon_engine::session::{TransactionStatus, arrow_of_parameter};
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};

use crate::connection::{Connection, in_whole};
use crate::desk::Planned;
use crate::encode::codes_for;
use crate::error::put;
use crate::held::{Held, Weight};
use crate::message::{Bind, Target};
use crate::params::decode;
use crate::running::{Progress, Running, Stop, answered_schema, put_row_description};

/// Named prepared statements a connection may hold, and MiB of their texts.
const MAX_STATEMENTS: usize = 10_000;
const MAX_STATEMENTS_MIB: usize = 16;
/// Named portals a connection may hold, and MiB of the texts and parameters that they were made of.
const MAX_PORTALS: usize = 1_000;
const MAX_PORTALS_MIB: usize = 64;

/// A parsed statement.
pub struct Statement {
    /// `None` for an empty text.
    prepared: Option<Planned>,
    /// The parameters' types as told to the client.
    types: Vec<PgType>,
    /// Of its text.
    bytes: usize,
}

impl Statement {
    fn has_rows(&self) -> bool {
        self.prepared.as_ref().is_some_and(|prepared| prepared.schema.is_some())
    }

    /// Whether a failed transaction lets it run.
    fn ends_a_transaction(&self) -> bool {
        let text = self.prepared.as_ref().map_or("", |prepared| prepared.text.trim_start());
        let word: String = text.chars().take_while(char::is_ascii_alphabetic).collect();
        self.types.is_empty() && ["commit", "end", "rollback", "abort"].contains(&word.to_ascii_lowercase().as_str())
    }
}

impl Weight for Arc<Statement> {
    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A statement bound to parameters.
pub struct Portal {
    statement: Arc<Statement>,
    result_formats: Vec<i16>,
    state: State,
    /// Of its statement's text and its parameters, as they came.
    bytes: usize,
}

impl Weight for Portal {
    fn bytes(&self) -> usize {
        self.bytes
    }
}

enum State {
    Bound(Vec<ScalarValue>),
    Running(Box<Running>),
    /// Of a statement with rows: running it again sends none.
    Exhausted(String),
    /// Of a statement without rows, or one that failed: it cannot be run again.
    Done,
}

/// What a connection holds for the extended protocol.
pub struct Extended {
    /// By name; the unnamed one has the empty name.
    pub statements: Held<Arc<Statement>>,
    /// By name; the unnamed one has the empty name.
    pub portals: Held<Portal>,
}

impl Default for Extended {
    fn default() -> Extended {
        Extended {
            statements: Held::new("prepared statements", MAX_STATEMENTS, MAX_STATEMENTS_MIB),
            portals: Held::new("portals", MAX_PORTALS, MAX_PORTALS_MIB),
        }
    }
}

impl Extended {
    /// A simple query ends the unnamed statement and portal.
    pub fn forget_unnamed(&mut self) {
        self.statements.remove("");
        self.portals.remove("");
    }

    fn statement(&self, name: &str) -> Result<&Arc<Statement>, Error> {
        self.statements.get(name).ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            Error::new(Sqlstate::InvalidStatementName, message)
        })
    }
}

/// The type of a parameter that the client says, if values of it are carried.
fn told_type(oid: u32) -> Option<PgType> {
    PgType::by_oid(oid).filter(|of| arrow_of_parameter(*of).is_some())
}

fn no_portal(name: &str) -> Error {
    Error::new(Sqlstate::InvalidCursorName, format!("portal \"{name}\" does not exist"))
}

impl Connection {
    /// Parse.
    pub(crate) async fn parse(&mut self, name: String, text: &str, oids: &[u32]) -> Result<(), Stop> {
        if name.is_empty() {
            self.extended.forget_unnamed();
        } else if self.extended.statements.get(&name).is_some() || self.desk.is_kept(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(Sqlstate::DuplicatePreparedStatement, message).into());
        }
        self.extended.statements.has_room(&name, text.len())?;
        let pieces = self.desk.split(text)?;
        let statement = match pieces.as_slice() {
            [] => Statement { prepared: None, types: Vec::new(), bytes: text.len() },
            [piece] => {
                let hints: Vec<_> = oids.iter().map(|oid| told_type(*oid)).collect();
                let guard = self.begin();
                let desk = self.desk.clone();
                let prepared = self.during(&guard, desk.prepare(&piece.text, &hints)).await?;
                self.cancelable.end();
                let prepared = prepared.map_err(|error| in_whole(error, text, piece))?;
                // Types that are told count even if the text has no such parameter.
                let types = (0..oids.len().max(prepared.parameters.len()))
                    .map(|at| {
                        let told = oids.get(at).copied().and_then(told_type);
                        told.or(prepared.parameters.get(at).map(|of| of.pg_type)).unwrap_or(PgType::TEXT)
                    })
                    .collect();
                Statement { prepared: Some(prepared), types, bytes: text.len() }
            }
            _ => {
                let message = "cannot insert multiple commands into a prepared statement";
                return Err(Error::new(Sqlstate::SyntaxError, message).into());
            }
        };
        if let Some(planned) = statement.prepared.as_ref().filter(|_| !name.is_empty()) {
            let types: Vec<u32> = statement.types.iter().map(|pg_type| pg_type.oid).collect();
            self.desk.keep(&name, planned, &types);
        }
        self.extended.statements.insert(name, Arc::new(statement));
        Ok(put(&ParseComplete::new(), &mut self.wire.writer.buffer)?)
    }

    /// Bind.
    pub(crate) fn bind(&mut self, bind: Bind) -> Result<(), Stop> {
        let statement = self.extended.statement(&bind.statement)?.clone();
        let (given, wanted) = (bind.parameters.len(), statement.types.len());
        if bind.formats.len() > 1 && bind.formats.len() != given {
            let message = format!("bind message has {} parameter formats but {given} parameters", bind.formats.len());
            return Err(Error::new(Sqlstate::ProtocolViolation, message).into());
        }
        if given != wanted {
            let message = format!(
                "bind message supplies {given} parameters, but prepared statement \"{}\" requires {wanted}",
                bind.statement
            );
            return Err(Error::new(Sqlstate::ProtocolViolation, message).into());
        }
        if self.desk.transaction_status() == TransactionStatus::Failed && !statement.ends_a_transaction() {
            return Err(Error::in_failed_transaction().into());
        }
        if !bind.portal.is_empty() && self.extended.portals.get(&bind.portal).is_some() {
            let message = format!("cursor \"{}\" already exists", bind.portal);
            return Err(Error::new(Sqlstate::DuplicateCursor, message).into());
        }
        let bytes = statement.bytes + bind.parameters.iter().flatten().map(bytes::Bytes::len).sum::<usize>();
        self.extended.portals.has_room(&bind.portal, bytes)?;
        let mut parameters = Vec::with_capacity(given);
        if let Some(prepared) = &statement.prepared {
            let formats = match bind.formats.as_slice() {
                [] => vec![0; given],
                [one] => vec![*one; given],
                many => many.to_vec(),
            };
            let zone = self.desk.setting("TimeZone").unwrap_or_else(|| "UTC".to_owned());
            for (number, ((bytes, format), pg_type)) in
                bind.parameters.iter().zip(formats).zip(&statement.types).enumerate()
            {
                // One that the text does not have is read all the same.
                let own = || arrow_of_parameter(*pg_type).unwrap_or(DataType::Utf8);
                let target = prepared.parameters.get(number).map_or_else(own, |of| of.data_type.clone());
                let value = decode(number + 1, bytes.as_deref(), format, *pg_type, &target, &zone)?;
                if number < prepared.parameters.len() {
                    parameters.push(value);
                }
            }
            if let Some(schema) = &prepared.schema {
                codes_for(&bind.result_formats, schema.fields().len())?;
            }
            if let Some(error) = &prepared.fails {
                return Err(error.clone().into());
            }
        }
        let portal = Portal { statement, result_formats: bind.result_formats, state: State::Bound(parameters), bytes };
        self.extended.portals.insert(bind.portal, portal);
        Ok(put(&BindComplete::new(), &mut self.wire.writer.buffer)?)
    }

    /// Describe.
    pub(crate) fn describe(&mut self, target: Target, name: &str) -> Result<(), Stop> {
        let failed = self.desk.transaction_status() == TransactionStatus::Failed;
        let out = &mut self.wire.writer.buffer;
        let (statement, formats) = match target {
            Target::Statement => {
                let statement = self.extended.statement(name)?;
                if failed && statement.has_rows() {
                    return Err(Error::in_failed_transaction().into());
                }
                put(&ParameterDescription::new(statement.types.iter().map(|t| t.oid).collect()), out)?;
                (statement, &[] as &[i16])
            }
            Target::Portal => match self.extended.portals.get(name) {
                Some(portal) => (&portal.statement, portal.result_formats.as_slice()),
                // A cursor is a portal too.
                None => {
                    let schema = self.desk.cursor_schema(name).ok_or_else(|| no_portal(name))?;
                    return Ok(put_row_description(&schema, &[], out)?);
                }
            },
        };
        match statement.prepared.as_ref().and_then(|prepared| prepared.schema.as_ref()) {
            Some(_) if failed => Err(Error::in_failed_transaction().into()),
            Some(schema) => Ok(put_row_description(schema, formats, out)?),
            None => Ok(put(&NoData::new(), out)?),
        }
    }

    /// Execute. The portal is taken out while it runs: if it fails it is gone, as its transaction is.
    pub(crate) async fn execute(&mut self, name: &str, max_rows: i32) -> Result<(), Stop> {
        let mut portal = self.extended.portals.remove(name).ok_or_else(|| no_portal(name))?;
        let statement = portal.statement.clone();
        let Some(prepared) = &statement.prepared else {
            self.extended.portals.insert(name.to_owned(), portal);
            return Ok(put(&EmptyQueryResponse::new(), &mut self.wire.writer.buffer)?);
        };
        // COPY is sent whole, whatever the client's maximum.
        let max_rows = if prepared.copy.is_some() { 0 } else { u64::try_from(max_rows).unwrap_or(0) };
        let mut guard = self.begin();
        let mut running = match std::mem::replace(&mut portal.state, State::Done) {
            State::Bound(parameters) => {
                if self.deallocated(&prepared.text) {
                    self.extended.portals.insert(name.to_owned(), portal);
                    return Ok(put(&CommandComplete::new("DEALLOCATE".to_owned()), &mut self.wire.writer.buffer)?);
                }
                Box::new(self.start(&mut guard, prepared, parameters, &portal.result_formats).await?)
            }
            State::Running(running) => running,
            State::Exhausted(tag) => {
                let tag = format!("{tag} 0");
                self.extended.portals.insert(name.to_owned(), portal);
                return Ok(put(&CommandComplete::new(tag), &mut self.wire.writer.buffer)?);
            }
            State::Done => {
                self.extended.portals.insert(name.to_owned(), portal);
                let message = format!("portal \"{name}\" cannot be run");
                return Err(Error::new(Sqlstate::ObjectNotInPrerequisiteState, message).into());
            }
        };
        let (rows, progress) = self.send(&guard, &mut running, max_rows).await?;
        match progress {
            Progress::Suspended => {
                self.cancelable.end();
                portal.state = State::Running(running);
                self.extended.portals.insert(name.to_owned(), portal);
                Ok(put(&PortalSuspended::new(), &mut self.wire.writer.buffer)?)
            }
            Progress::Finished => {
                if prepared.schema.is_some() && prepared.copy.is_none() {
                    portal.state = State::Exhausted(running.tag.clone());
                }
                let ends = matches!(running.tag.as_str(), "COMMIT" | "ROLLBACK" | "DISCARD ALL");
                self.finish(*running, rows)?;
                if ends && self.desk.transaction_status() == TransactionStatus::Idle {
                    self.extended.portals.clear();
                } else {
                    self.extended.portals.insert(name.to_owned(), portal);
                }
                Ok(())
            }
        }
    }

    /// Runs a bound statement up to its first row.
    async fn start(
        &mut self,
        guard: &mut crate::wire::Guard,
        prepared: &Planned,
        parameters: Vec<ScalarValue>,
        formats: &[i16],
    ) -> Result<Running, Stop> {
        let answer = self.execute_during(guard, prepared, parameters).await?;
        if let Some(style) = &prepared.copy {
            return Ok(Running::copy(answer, style, self.zone())?);
        }
        let schema = match &answer.rows {
            None => None,
            Some(rows) => match answered_schema(prepared.schema.as_ref(), rows) {
                Some(schema) => Some(schema),
                None if prepared.schema.is_none() => Some(rows.schema.clone()),
                // The client was told other types; it would read the rows wrongly.
                None => return Err(Error::unsupported("cached plan must not change result type").into()),
            },
        };
        Ok(Running::new(answer, schema.as_deref(), formats, self.zone())?)
    }

    /// Close.
    pub(crate) fn close(&mut self, target: Target, name: &str) -> Result<(), Stop> {
        match target {
            Target::Statement => {
                if self.extended.statements.remove(name).is_some() {
                    self.desk.forget(name);
                }
            }
            Target::Portal => drop(self.extended.portals.remove(name)),
        }
        Ok(put(&CloseComplete::new(), &mut self.wire.writer.buffer)?)
    }

    /// `DEALLOCATE name` of a statement made by Parse: both kinds of prepared statements share their names.
    pub(crate) fn deallocated(&mut self, text: &str) -> bool {
        if self.desk.transaction_status() == TransactionStatus::Failed {
            return false;
        }
        let mut words = text.trim().trim_end_matches(';').split_whitespace();
        if !words.next().is_some_and(|word| word.eq_ignore_ascii_case("deallocate")) {
            return false;
        }
        let name = match (words.next(), words.next(), words.next()) {
            (Some(name), None, None) => name,
            (Some(prepare), Some(name), None) if prepare.eq_ignore_ascii_case("prepare") => name,
            _ => return false,
        };
        let name = match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => name.to_lowercase(),
        };
        let found = self.extended.statements.remove(&name).is_some();
        if found {
            self.desk.forget(&name);
        }
        found
    }
}
