//! What stewards do to tables: register, drop, set policies, describe, grant.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use kanon_privacy::policy::Access;

use super::policy::undefined_column;
use super::source::Source;
use super::unique::{Found, count_units};
use super::{Catalog, DEFAULT_UNIT_KIND, MAX_COLUMNS, Policy, Snapshot, excluding, read};
use crate::difference::is_unseen;
use crate::error::{Error, Result, Sqlstate};
use crate::nearest::did_you_mean;
use crate::store::{TableRecord, later_than, now};

/// The longest value by which a unit is told.
const MOST_BYTES_OF_UNIT: usize = 1_000;

/// A column of CREATE EXTERNAL TABLE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it may be NULL.
    pub nullable: bool,
}

/// A CREATE EXTERNAL TABLE, for schema `public`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalTable {
    /// The table's name.
    pub name: String,
    /// With IF NOT EXISTS.
    pub if_not_exists: bool,
    /// STORED AS: parquet, csv, json, arrow or sqlite, in any case.
    pub format: String,
    /// A URL, or an absolute path to a file, a folder or a glob.
    pub location: String,
    /// The columns, if they are not to be inferred.
    pub columns: Vec<ColumnDefinition>,
    /// OPTIONS, as written.
    pub options: Vec<(String, String)>,
}

impl Catalog {
    /// Registers a table of schema `public`: its source is read and its columns are found or checked. It answers nothing until it has a
    /// policy. The texts are NOTICEs for the steward.
    ///
    /// # Errors
    /// 42P07 if the name is taken; 22023, 42704, 58030, 54011 and others with what is wrong with the source, down to file and line.
    pub async fn create_external_table(&self, definition: ExternalTable, owner: &str) -> Result<Vec<String>> {
        let name = &definition.name;
        if name.is_empty() || name.len() > 63 || name.chars().any(is_unseen) {
            return Err(Error::new(
                Sqlstate::InvalidName,
                format!("\"{}\" cannot be the name of a table", name.escape_debug()),
            ));
        }
        if self.snapshot().table("public", name).is_some() {
            if definition.if_not_exists {
                return Ok(vec![format!("relation \"{name}\" already exists, skipping")]);
            }
            return Err(Error::new(Sqlstate::DuplicateTable, format!("relation \"{name}\" already exists")));
        }
        let mut source = Source::resolve(&definition, self.data_root.as_deref())?;
        let declared = declared_schema(&definition.columns)?;
        let schema = read::register(&self.state, &mut source, declared, self.data_root.as_deref()).await?;
        check_columns(&schema)?;
        let registered_at = now();
        let record = TableRecord {
            oid: 0,
            name: name.clone(),
            source,
            schema: Arc::new(schema),
            description: None,
            owner: owner.to_owned(),
            policy: Policy::default(),
            columns: Default::default(),
            column_descriptions: Default::default(),
            updated_at: registered_at.clone(),
            registered_at,
        };
        self.store.insert_table(&record).await?;
        self.reload().await?;
        Ok(vec![format!(
            "table \"{name}\" answers nothing until it has a policy: ALTER TABLE {name} SET (access = …), and GRANT SELECT"
        )])
    }

    /// DROP TABLE of schema `public`, with its policy and its grants. The data stays where it is.
    ///
    /// # Errors
    /// 42P01 if there is no such table, unless `if_exists`.
    pub async fn drop_table(&self, name: &str, if_exists: bool) -> Result<Vec<String>> {
        let existed = self.store.delete_table(name).await?;
        self.reload().await?;
        match (existed, if_exists) {
            (true, _) => Ok(Vec::new()),
            (false, true) => Ok(vec![format!("table \"{name}\" does not exist, skipping")]),
            (false, false) => Err(self.undefined_table(name)),
        }
    }

    /// COMMENT ON TABLE; `None` takes it away.
    ///
    /// # Errors
    /// 42P01 if there is no such table.
    pub async fn comment_table(&self, name: &str, text: Option<String>) -> Result<()> {
        let mut record = self.record(name)?;
        record.description = text;
        self.put(record).await
    }

    /// COMMENT ON COLUMN; `None` takes it away.
    ///
    /// # Errors
    /// 42P01, 42703.
    pub async fn comment_column(&self, table: &str, column: &str, text: Option<String>) -> Result<()> {
        let mut record = self.record(table)?;
        if record.schema.field_with_name(column).is_err() {
            return Err(undefined_column(column, table, &record.schema));
        }
        match text {
            Some(text) => record.column_descriptions.insert(column.to_owned(), text),
            None => record.column_descriptions.remove(column),
        };
        self.put(record).await
    }

    /// GRANT SELECT ON a table of any schema, or on some of its columns, TO a role, a built-in role or `public`.
    ///
    /// # Errors
    /// 42P01, 42703, 42704.
    pub async fn grant_select(&self, schema: &str, table: &str, columns: &[String], grantee: &str) -> Result<()> {
        match self.snapshot().table(schema, table) {
            None => return Err(self.undefined_table_in(schema, table)),
            Some(table) => table.check_columns(columns)?,
        }
        self.store.check_grantee(grantee)?;
        self.store.set_grant(schema, table, columns, grantee, true).await?;
        self.reload().await
    }

    /// As [`Catalog::grant_select`], for a table that a peer does not offer yet: it holds once the peer does.
    ///
    /// # Errors
    /// 42704.
    pub async fn grant_select_ahead(&self, schema: &str, table: &str, grantee: &str) -> Result<()> {
        self.store.check_grantee(grantee)?;
        self.store.set_grant(schema, table, &[], grantee, true).await?;
        self.reload().await
    }

    /// REVOKE SELECT ON a table of any schema, or on some of its columns, FROM a role, a built-in role or `public`.
    ///
    /// # Errors
    /// 42P01 if there is no such table and no grant on one (a peer's may be gone), 42704.
    pub async fn revoke_select(&self, schema: &str, table: &str, columns: &[String], grantee: &str) -> Result<()> {
        let name = (schema.to_owned(), table.to_owned());
        let is_granted = {
            let grants = &self.read().records.grants;
            grants.tables.contains_key(&name) || grants.columns.contains_key(&name)
        };
        match self.snapshot().table(schema, table) {
            Some(table) => table.check_columns(columns)?,
            None if is_granted => {}
            None => return Err(self.undefined_table_in(schema, table)),
        }
        self.store.check_grantee(grantee)?;
        self.store.set_grant(schema, table, columns, grantee, false).await?;
        self.reload().await
    }

    /// GRANT and REVOKE of USAGE ON SCHEMA.
    ///
    /// # Errors
    /// 42704.
    pub async fn set_usage(&self, schema: &str, grantee: &str, granted: bool) -> Result<()> {
        self.store.check_grantee(grantee)?;
        self.store.set_usage(schema, grantee, granted).await?;
        self.reload().await
    }

    /// DROP ROLE, with its memberships and grants.
    ///
    /// # Errors
    /// As [`crate::store::Store::drop_role`].
    pub async fn drop_role(&self, name: &str, if_exists: bool) -> Result<()> {
        self.store.drop_role(name, if_exists).await?;
        self.reload().await
    }

    /// Leaves the rows of a unit that opted out out of every protected table of its kind, or no longer. Whether that changes anything, and the tables in whose unit column
    /// there is no such value.
    ///
    /// # Errors
    /// 42704 for a kind of which there is neither a table nor a budget; 22023 for a value that cannot be one, in any of the tables.
    pub async fn exclude_unit(&self, kind: &str, value: &str, excluded: bool, by: &str) -> Result<(bool, Vec<String>)> {
        let records = Arc::clone(&self.read().records);
        let of_tables = records.tables.iter().filter(|record| record.policy.unit.is_some());
        let of_tables = of_tables.map(|record| record.policy.unit_kind.as_deref().unwrap_or(DEFAULT_UNIT_KIND));
        let kinds: Vec<&str> = of_tables.chain(records.privacy_units.keys().map(String::as_str)).collect();
        if !kinds.contains(&kind) {
            let error = Error::new(Sqlstate::UndefinedObject, format!("there is no unit kind \"{kind}\" here"));
            return Err(did_you_mean(error, kind, kinds));
        }
        if value.is_empty() || value.len() > MOST_BYTES_OF_UNIT {
            let message = format!("a unit is told by 1 to {MOST_BYTES_OF_UNIT} bytes");
            return Err(Error::new(Sqlstate::InvalidParameterValue, message));
        }
        let (able, unable): (Vec<_>, Vec<_>) = self
            .snapshot()
            .tables
            .iter()
            .filter_map(|table| {
                let policy = &table.policy;
                let unit = policy.unit.as_ref().filter(|_| table.schema_name == "public")?;
                let unit = table.provider.schema().field_with_name(unit).ok()?.data_type().clone();
                let is_of_kind = policy.unit_kind.as_deref().unwrap_or(DEFAULT_UNIT_KIND) == kind;
                is_of_kind.then(|| (table.name.clone(), excluding::value_of(value, &unit).is_some()))
            })
            .partition(|(_, is_value)| *is_value);
        if excluded && able.is_empty() && !unable.is_empty() {
            let message = format!("this is no value of the unit column of any table of kind \"{kind}\"");
            return Err(
                Error::new(Sqlstate::InvalidParameterValue, message).hint("Write the unit as the tables have it.")
            );
        }
        let changed = self.store.exclude_unit(kind, value, excluded, by).await?;
        self.reload().await?;
        Ok((changed, unable.into_iter().map(|(table, _)| table).collect()))
    }

    pub(super) fn record(&self, name: &str) -> Result<TableRecord> {
        let present = self.read();
        present.records.tables.iter().find(|record| record.name == name).cloned().ok_or_else(|| {
            let names = present.records.tables.iter().map(|record| record.name.as_str());
            did_you_mean(
                Error::new(Sqlstate::UndefinedTable, format!("relation \"{name}\" does not exist")),
                name,
                names,
            )
        })
    }

    fn undefined_table(&self, name: &str) -> Error {
        self.undefined_table_in("public", name)
    }

    fn undefined_table_in(&self, schema: &str, name: &str) -> Error {
        let snapshot = self.snapshot();
        let names = snapshot.tables.iter().filter(|table| table.schema_name == schema).map(|table| table.name.as_str());
        let shown = if schema == "public" { name.to_owned() } else { format!("{schema}.{name}") };
        did_you_mean(Error::new(Sqlstate::UndefinedTable, format!("relation \"{shown}\" does not exist")), name, names)
    }

    /// The present snapshot, after tables that are said to have one row a unit were looked at again if their data has changed: what
    /// statements are planned with. It costs a listing of the files of each such table, and a scan after a change.
    ///
    /// # Errors
    /// If the store fails. A table that cannot be looked at counts as one without unique units.
    pub async fn current(&self) -> Result<Arc<Snapshot>> {
        let records = Arc::clone(&self.read().records);
        for record in records.tables.iter().filter(|record| record.policy.unit_unique) {
            let version = read::data_version(&self.state, &record.source).await.ok();
            if version.is_some() && version == record.policy.unit_data_version {
                continue;
            }
            let mut record = record.clone();
            let unit = record.policy.unit.clone().unwrap_or_default();
            let mut notices = Vec::new();
            let found = match version {
                Some(_) => self.check_unit(&record, &unit, &mut notices).await.unwrap_or_default(),
                None => Found::default(),
            };
            for notice in notices {
                tracing::warn!(table = record.name, "{notice}");
            }
            if (record.policy.units_found(), &record.policy.unit_data_version) == (found, &version) {
                continue;
            }
            record.policy.found_of_units(found);
            record.policy.unit_data_version = version;
            match self.put(record).await {
                // Somebody else did it, or changed the table: their snapshot is the present one.
                Err(error) if error.state == Sqlstate::ObjectNotInPrerequisiteState => {}
                done => done?,
            }
        }
        Ok(self.snapshot())
    }

    /// The version of a table's data: of files their list with sizes, times and ETags. `None` if it cannot be told.
    pub async fn data_version(&self, oid: u32) -> Option<String> {
        let records = Arc::clone(&self.read().records);
        let record = records.tables.iter().find(|record| record.oid == oid)?;
        read::data_version(&self.state, &record.source).await.ok()
    }

    /// Reads the unit column: it must name somebody. Whether units are unique is looked at if `unit_unique` is declared.
    pub(super) async fn check_unit(
        &self,
        record: &TableRecord,
        unit: &str,
        notices: &mut Vec<String>,
    ) -> Result<Found> {
        let field =
            record.schema.field_with_name(unit).map_err(|_| undefined_column(unit, &record.name, &record.schema))?;
        if !names_units(field.data_type()) {
            return Err(Error::new(
                Sqlstate::DatatypeMismatch,
                format!("column \"{unit}\" of type {} cannot be the unit", field.data_type()),
            )
            .hint("A unit is a whole number, a text or a date. Declare the column's type in CREATE EXTERNAL TABLE."));
        }
        let provider =
            read::provider(&self.runtime, &record.name, &record.source, &record.schema, record.policy.is_protected());
        let units = count_units(&self.state, provider, unit, record.policy.unit_unique).await?;
        if units.rows > 0 && units.named == 0 {
            return Err(Error::new(
                Sqlstate::InvalidParameterValue,
                format!("column \"{unit}\" of table \"{}\" names no one: it is NULL in every row", record.name),
            )
            .hint("Name the column that identifies the person of each row."));
        }
        let found = units.found();
        if record.policy.unit_unique && !found.unique {
            let so = match record.policy.access {
                Some(Access::Private) => "one row of each is read",
                _ => "the table is treated so",
            };
            notices.push(format!(
                "column \"{unit}\" of table \"{}\" is not unique: some units have several rows, and {so}",
                record.name
            ));
        }
        Ok(found)
    }

    pub(super) async fn put(&self, mut record: TableRecord) -> Result<()> {
        let seen = std::mem::take(&mut record.updated_at);
        record.updated_at = later_than(&seen);
        let done = self.store.update_table(&record, &seen).await;
        self.reload().await?;
        done
    }
}

fn names_units(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Utf8 | DataType::Date32 | DataType::Decimal128(_, 0) | DataType::FixedSizeBinary(16)
        )
}

fn declared_schema(columns: &[ColumnDefinition]) -> Result<Option<Schema>> {
    if columns.is_empty() {
        return Ok(None);
    }
    let fields: Vec<Field> = columns
        .iter()
        .map(|column| Field::new(&column.name, read::plain_type(&column.data_type), column.nullable))
        .collect();
    Ok(Some(Schema::new(fields)))
}

fn check_columns(schema: &Schema) -> Result<()> {
    let found = schema.fields().len();
    if found == 0 {
        return Err(Error::new(Sqlstate::InvalidParameterValue, "the source has no columns")
            .hint("Declare them: CREATE EXTERNAL TABLE t (a bigint, b text) STORED AS …"));
    }
    if found > MAX_COLUMNS {
        return Err(Error::new(
            Sqlstate::TooManyColumns,
            format!("tables can have at most {MAX_COLUMNS} columns, and the source has {found}"),
        ));
    }
    for (position, field) in schema.fields().iter().enumerate() {
        let name = field.name();
        if name.is_empty() {
            return Err(Error::new(
                Sqlstate::InvalidName,
                format!("column {} of the source has no name", position + 1),
            )
            .hint("Name it in the source, or declare all columns in CREATE EXTERNAL TABLE."));
        }
        if name.contains('\0') || name.len() > 1000 {
            return Err(Error::new(
                Sqlstate::InvalidName,
                format!("column {} of the source has a name that cannot be used", position + 1),
            ));
        }
        if schema.fields().iter().take(position).any(|earlier| earlier.name() == name) {
            return Err(Error::new(Sqlstate::InvalidName, format!("column \"{name}\" is twice in the source"))
                .hint("Rename one in the source, or declare all columns in CREATE EXTERNAL TABLE."));
        }
    }
    Ok(())
}
