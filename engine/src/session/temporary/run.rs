//! What each statement about temporary tables does.

use std::sync::Arc;

use datafusion::arrow::datatypes::Field;

use super::columns::{Column, Columns, is_assignable};
use super::insert::{self, Source};
use super::rows::Memory;
use super::{Temporaries, TemporaryTable};
use crate::error::{Error, Result, Sqlstate};
use crate::pg_catalog::types::PgType;
use crate::session::accuracy::Intervals;
use crate::session::execute::Described;
use crate::session::parameters::Parameters;
use crate::session::query::memory_rows;
use crate::session::stream::Stop;
use crate::session::told::Told;
use crate::session::{Answer, Notice, Session};
use crate::statement::steward::{self, Relations, TableName};
use crate::statement::temporary::{Create, CreateAs, Delete, Insert, Inserted, NewTable, Temporary};
use crate::statement::{StewardStatement, query_of};

impl Session {
    /// The parameters of a statement about temporary tables, which answers no rows.
    ///
    /// # Errors
    /// 25006 if it would write another table, and as its query.
    pub(in crate::session) async fn describe_temporary(&self, temporary: &Temporary, types: Told) -> Result<Described> {
        if self.subplan {
            return Err(temporary.refusal());
        }
        let query = match temporary {
            Temporary::Create(_) => None,
            Temporary::CreateAs(create) => Some(create.query.clone()),
            Temporary::Insert(insert) => {
                let table = self.writable(&insert.table, temporary)?;
                let rows = insert.rows.as_ref().map_err(Clone::clone)?;
                Some(self.rows_to_insert(&table, rows, &types).await?)
            }
            Temporary::Delete(delete) => {
                self.writable(&delete.table, temporary)?;
                delete.kept.clone()?
            }
            Temporary::Truncate(tables) => {
                tables.iter().try_for_each(|table| self.writable(table, temporary).map(|_| ()))?;
                None
            }
            Temporary::Update(table) => {
                self.writable(table, temporary)?;
                return Err(Error::unsupported("UPDATE of a temporary table is not supported")
                    .hint("Make another one with the new values: CREATE TEMP TABLE … AS SELECT …."));
            }
        };
        let Some(query) = query else { return Ok(Described::default()) };
        let (_, parameters) = self.plan(&query, Parameters::Types(types)).await?;
        Ok(Described { parameters, ..Described::default() })
    }

    /// Runs a statement about temporary tables.
    ///
    /// # Errors
    /// As [`Session::describe_temporary`], and what its rows, its columns and the session's memory do not allow.
    pub(in crate::session) async fn run_temporary(
        self: &Arc<Self>,
        temporary: &Temporary,
        parameters: Parameters,
        stop: &Stop,
    ) -> Result<Answer> {
        if self.subplan {
            return Err(temporary.refusal());
        }
        match temporary {
            Temporary::Create(create) => self.create(create).await,
            Temporary::CreateAs(create) => self.create_as(create, parameters, stop).await,
            Temporary::Insert(Insert { table, rows }) => {
                let table = self.writable(table, temporary)?;
                self.insert(&table, rows.as_ref().map_err(Clone::clone)?, parameters, stop).await
            }
            Temporary::Delete(delete) => {
                let table = self.writable(&delete.table, temporary)?;
                self.delete(&table, delete, parameters, stop).await
            }
            Temporary::Truncate(tables) => {
                for table in tables {
                    self.writable(table, temporary)?;
                }
                self.change_temporaries(|all| {
                    for name in tables {
                        let table = all.tables.get(&name.name).cloned().ok_or_else(|| undefined(&name.name))?;
                        all.put(table.with(Vec::new())?);
                    }
                    Ok(Answer::done("TRUNCATE TABLE"))
                })
            }
            Temporary::Update(_) => Err(temporary.refusal()),
        }
    }

    /// DROP TABLE: of temporary tables here, of others as their steward.
    ///
    /// # Errors
    /// 42P01, and as [`steward::run`].
    pub(in crate::session) async fn drop_tables(&self, if_exists: bool, names: &[TableName]) -> Result<Answer> {
        let is_own = |name: &TableName| {
            self.temporary(name).is_some() || name.schema.as_ref().is_some_and(|s| self.is_temporary_schema(s))
        };
        let (own, others): (Vec<TableName>, Vec<TableName>) = names.iter().cloned().partition(is_own);
        let mut notices = Vec::new();
        for name in &own {
            if self.temporary(name).is_none() {
                if !if_exists {
                    let message = format!("table \"{}\" does not exist", name.name);
                    return Err(Error::new(Sqlstate::UndefinedTable, message));
                }
                notices.push(Notice::new(format!("table \"{}\" does not exist, skipping", name.name)));
            }
        }
        if !others.is_empty() {
            let others = StewardStatement::DropTable { if_exists, names: others };
            notices.extend(steward::run(&self.node, &self.principal(), others).await?.notices);
        }
        self.change_temporaries(|all| {
            for name in &own {
                Arc::make_mut(&mut all.tables).remove(&name.name);
            }
            Ok(())
        })?;
        Ok(Answer { notices, ..Answer::done("DROP TABLE") })
    }

    /// Refuses what stewards say of tables where it is said of a temporary one.
    ///
    /// # Errors
    /// 0A000.
    pub(in crate::session) fn refuse_for_temporary(&self, statement: &StewardStatement) -> Result<()> {
        let named: &[TableName] = match statement {
            StewardStatement::AlterTable { name, .. } => std::slice::from_ref(name),
            StewardStatement::Comment { table, .. } => std::slice::from_ref(table),
            StewardStatement::Select { on: Relations::Tables(tables), .. } => tables,
            _ => &[],
        };
        match named.iter().any(|name| self.temporary(name).is_some()) {
            true => Err(Error::unsupported(format!("{} of a temporary table is not supported", statement.tag()))),
            false => Ok(()),
        }
    }

    /// The temporary table that a statement may write.
    fn writable(&self, name: &TableName, statement: &Temporary) -> Result<Arc<TemporaryTable>> {
        self.temporary(name).ok_or_else(|| match &name.schema {
            Some(schema) if self.is_temporary_schema(schema) => undefined(&name.to_string()),
            _ => statement.refusal(),
        })
    }

    fn memory(&self) -> Memory {
        Memory {
            used: Arc::clone(&self.state().temporary.used),
            pool: Arc::clone(&self.node.states.runtime_env().memory_pool),
        }
    }

    /// Whether a new table may be made; `None` if there is one already that may stay.
    fn check_new(&self, table: &NewTable) -> Result<Option<()>> {
        let name = &table.name.name;
        if !self.names_temporary(&table.name) {
            let message = "cannot create temporary relation in non-temporary schema";
            return Err(Error::new(Sqlstate::InvalidTableDefinition, message));
        }
        if name.is_empty() || name.len() > 63 || name.chars().any(char::is_control) {
            let message = format!("\"{}\" cannot be the name of a table", name.escape_debug());
            return Err(Error::new(Sqlstate::InvalidName, message));
        }
        match self.state().temporary.check_new(name) {
            Err(error) if error.state == Sqlstate::DuplicateTable && table.if_not_exists => Ok(None),
            checked => checked.map(Some),
        }
    }

    async fn create(&self, create: &Create) -> Result<Answer> {
        let name = &create.table.name.name;
        let mut answer = Answer::done("CREATE TABLE");
        if self.check_new(&create.table)?.is_none() {
            return Ok(with_notice(answer, exists(name)));
        }
        let columns = Columns::declared(name, &create.columns)?;
        for (field, column) in columns.iter() {
            if column.default.is_some() {
                let query = query_of(&format!("SELECT {}", insert::default_text(field, column)))?;
                self.plan(&query, Parameters::Types(Told::default())).await?;
            }
        }
        if create.has_keys {
            answer = with_notice(answer, "PRIMARY KEY and UNIQUE of a temporary table are not checked".to_owned());
        }
        let table = TemporaryTable::new(self, name, columns, Vec::new(), create.table.on_commit)?;
        self.add(table)?;
        Ok(answer)
    }

    async fn create_as(self: &Arc<Self>, create: &CreateAs, parameters: Parameters, stop: &Stop) -> Result<Answer> {
        let name = &create.table.name.name;
        if self.check_new(&create.table)?.is_none() {
            return Ok(with_notice(Answer::done("CREATE TABLE AS"), exists(name)));
        }
        let (planned, _) = self.plan(&create.query, parameters).await?;
        // What is wrong with the columns is told before anything is charged.
        Columns::answered(name, &planned.schema(), &create.columns)?;
        let mut answer = if create.with_data {
            self.answer_query("SELECT", planned, &Intervals::AsSet, stop).await?
        } else {
            let schema = planned.schema();
            self.decide(planned.plan)?;
            Answer::rows("SELECT", memory_rows(schema, Vec::new())?)
        };
        let rows = answer.rows.take().ok_or_else(|| Error::internal("a query without rows"))?;
        let columns = Columns::answered(name, &rows.schema, &create.columns)?;
        let chunks = self.memory().keep(rows, &columns).await?;
        let table = TemporaryTable::new(self, name, columns, chunks, create.table.on_commit)?;
        answer.tag = match create.with_data {
            true => format!("SELECT {}", table.rows()),
            false => "CREATE TABLE AS".to_owned(),
        };
        self.add(table)?;
        Ok(answer)
    }

    fn add(&self, table: TemporaryTable) -> Result<()> {
        self.change_temporaries(|all| {
            all.check_new(&table.table.name)?;
            all.put(table);
            Ok(())
        })
    }

    async fn insert(
        self: &Arc<Self>,
        table: &TemporaryTable,
        rows: &Inserted,
        parameters: Parameters,
        stop: &Stop,
    ) -> Result<Answer> {
        let told = match &parameters {
            Parameters::Values(values, told) => values
                .iter()
                .enumerate()
                .map(|(place, value)| told.get(place).copied().flatten().or(Some(PgType::of(&value.data_type()))))
                .collect(),
            other => Told::clone(other.told()),
        };
        let query = self.rows_to_insert(table, rows, &told).await?;
        let (planned, _) = self.plan(&query, parameters).await?;
        let mut answer = self.answer_query("INSERT", planned, &Intervals::At(Vec::new()), stop).await?;
        let rows = answer.rows.take().ok_or_else(|| Error::internal("a query without rows"))?;
        let memory = self.memory();
        let more = memory.keep(rows, &table.columns).await?;
        let count: usize = more.iter().map(|chunk| chunk.rows()).sum();
        self.change_temporaries(|all| {
            let present = same(all, table)?;
            all.put(present.with(memory.append(&present.chunks, more)?)?);
            Ok(())
        })?;
        answer.tag = format!("INSERT 0 {count}");
        Ok(answer)
    }

    async fn delete(
        self: &Arc<Self>,
        table: &TemporaryTable,
        delete: &Delete,
        parameters: Parameters,
        stop: &Stop,
    ) -> Result<Answer> {
        let Some(query) = delete.kept.clone()? else {
            let gone = self.change_temporaries(|all| {
                let present = same(all, table)?;
                all.put(present.with(Vec::new())?);
                Ok(present.rows())
            })?;
            return Ok(Answer::done(format!("DELETE {gone}")));
        };
        let (planned, _) = self.plan(&query, parameters).await?;
        let mut answer = self.answer_query("DELETE", planned, &Intervals::At(Vec::new()), stop).await?;
        let rows = answer.rows.take().ok_or_else(|| Error::internal("a query without rows"))?;
        let kept = self.memory().keep(rows, &table.columns).await?;
        let gone = self.change_temporaries(|all| {
            let present = same(all, table)?;
            if !Arc::ptr_eq(&present.table, &table.table) {
                let message = format!("table \"{}\" was changed by another statement of the session", table.table.name);
                return Err(Error::new(Sqlstate::ObjectNotInPrerequisiteState, message));
            }
            let changed = present.with(kept)?;
            let gone = present.rows().saturating_sub(changed.rows());
            all.put(changed);
            Ok(gone)
        })?;
        answer.tag = format!("DELETE {gone}");
        Ok(answer)
    }

    /// A query of the rows to insert: all columns of the table, in order, each of its type.
    async fn rows_to_insert(
        &self,
        table: &TemporaryTable,
        rows: &Inserted,
        told: &Told,
    ) -> Result<Box<datafusion::sql::sqlparser::ast::Query>> {
        let columns = &table.columns;
        let all: Vec<(&Field, &Column)> = columns.iter().collect();
        let places = match rows.columns.as_slice() {
            [] => (0..all.len()).collect(),
            names => columns.places(names)?,
        };
        let Some(query) = &rows.query else { return insert::outer(&all, &[], None) };
        let mut query = query.clone();
        let targets: Vec<(&Field, &Column)> = places.iter().filter_map(|place| all.get(*place).copied()).collect();
        let width = match insert::coerce(&mut query, &targets)? {
            Source::Values(width) => width,
            Source::Query => {
                let (planned, _) = self.plan(&query, Parameters::Types(Told::clone(told))).await?;
                let schema = planned.schema();
                for (from, (to, _)) in schema.fields().iter().zip(&targets) {
                    if !is_assignable(from, to) {
                        return Err(insert::mismatch(from, to));
                    }
                }
                schema.fields().len()
            }
        };
        insert::check_width(width, places.len(), !rows.columns.is_empty())?;
        let provided = places.get(..width).unwrap_or_default();
        insert::outer(&all, provided, Some(query))
    }
}

/// The table as it is now, if it is still there.
fn same(all: &Temporaries, table: &TemporaryTable) -> Result<Arc<TemporaryTable>> {
    let name = &table.table.name;
    let present = all.tables.get(name).filter(|present| present.table.oid == table.table.oid);
    present.cloned().ok_or_else(|| undefined(name))
}

fn undefined(name: &str) -> Error {
    Error::new(Sqlstate::UndefinedTable, format!("relation \"{name}\" does not exist"))
}

fn exists(name: &str) -> String {
    format!("relation \"{name}\" already exists, skipping")
}

fn with_notice(mut answer: Answer, message: String) -> Answer {
    answer.notices.push(Notice::new(message));
    answer
}
