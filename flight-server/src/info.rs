//! What the server says of itself, and the shapes of answers that are always empty here.

use std::collections::BTreeMap;

use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity, SqlSupportedElementActions,
    SqlSupportedGroupBy, SqlSupportedResultSetConcurrency, SqlSupportedResultSetType, SqlSupportedSubqueries,
    SqlSupportedTransaction, SqlSupportedUnions, SqlTransactionIsolationLevel, SupportedSqlGrammar,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use kanon_engine::error::{Error, Result};
use kanon_engine::statement::{MAX_JOINS, MAX_LIST_ITEMS, MAX_TEXT_BYTES};

use crate::service::PREPARED_IDLE;

/// The one catalog there is.
pub(crate) const CATALOG: &str = "kanon";

/// Words that are keywords of PostgreSQL and not of SQL-92.
const KEYWORDS: &[&str] = &[
    "ANALYSE",
    "ANALYZE",
    "ARRAY",
    "ASYMMETRIC",
    "BINARY",
    "CONCURRENTLY",
    "DO",
    "FREEZE",
    "ILIKE",
    "ISNULL",
    "LATERAL",
    "LIMIT",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "NOTNULL",
    "OFFSET",
    "ONLY",
    "OVERLAPS",
    "PLACING",
    "RETURNING",
    "SIMILAR",
    "SYMMETRIC",
    "TABLESAMPLE",
    "VARIADIC",
    "VERBOSE",
    "WINDOW",
];
const NUMERIC_FUNCTIONS: &[&str] = &[
    "abs", "acos", "asin", "atan", "atan2", "ceiling", "cos", "cot", "degrees", "exp", "floor", "log", "log10", "mod",
    "pi", "power", "radians", "round", "sign", "sin", "sqrt", "tan",
];
const STRING_FUNCTIONS: &[&str] = &[
    "ascii",
    "char_length",
    "chr",
    "concat",
    "left",
    "length",
    "lower",
    "ltrim",
    "octet_length",
    "position",
    "repeat",
    "replace",
    "right",
    "rtrim",
    "substring",
    "upper",
];
const SYSTEM_FUNCTIONS: &[&str] = &["coalesce", "current_database", "current_user", "nullif"];
const DATETIME_FUNCTIONS: &[&str] =
    &["current_date", "current_timestamp", "date_part", "date_trunc", "extract", "now", "to_char"];

/// The answers to GetSqlInfo. Names of bits and numbers are those of FlightSql.proto.
pub(crate) fn sql_info() -> Result<SqlInfoData> {
    /// The bits of an enumeration's members.
    fn bits(members: &[i32]) -> i32 {
        members.iter().fold(0, |bits, member| bits | 1 << member)
    }
    /// A member that arrow-flight does not name.
    const ANSI92_ENTRY_SQL: i32 = 0;
    /// Nothing is known to bound it.
    const UNBOUNDED: i64 = 0;
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "Kanon");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    info.append(SqlInfo::FlightSqlServerReadOnly, true);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(SqlInfo::FlightSqlServerSubstraitMinVersion, "");
    info.append(SqlInfo::FlightSqlServerSubstraitMaxVersion, "");
    info.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    info.append(SqlInfo::FlightSqlServerCancel, true);
    info.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    info.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
    // How long a prepared statement is kept unused, in milliseconds.
    info.append(SqlInfo::FlightSqlServerStatementTimeout, i32::try_from(PREPARED_IDLE.as_millis()).unwrap_or(i32::MAX));
    info.append(SqlInfo::FlightSqlServerTransactionTimeout, 0i32);
    info.append(SqlInfo::SqlDdlCatalog, false);
    info.append(SqlInfo::SqlDdlSchema, false);
    info.append(SqlInfo::SqlDdlTable, false);
    // Unquoted names are folded to lower case, quoted ones kept.
    info.append(SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    info.append(
        SqlInfo::SqlQuotedIdentifierCase,
        SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32,
    );
    info.append(SqlInfo::SqlAllTablesAreSelectable, false);
    info.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32);
    info.append(SqlInfo::SqlKeywords, KEYWORDS);
    info.append(SqlInfo::SqlNumericFunctions, NUMERIC_FUNCTIONS);
    info.append(SqlInfo::SqlStringFunctions, STRING_FUNCTIONS);
    info.append(SqlInfo::SqlSystemFunctions, SYSTEM_FUNCTIONS);
    info.append(SqlInfo::SqlDatetimeFunctions, DATETIME_FUNCTIONS);
    info.append(SqlInfo::SqlSearchStringEscape, "\\");
    info.append(SqlInfo::SqlExtraNameCharacters, "");
    info.append(SqlInfo::SqlSupportsColumnAliasing, true);
    info.append(SqlInfo::SqlNullPlusNullIsNull, true);
    // There is CAST, and no CONVERT.
    info.append(SqlInfo::SqlSupportsConvert, BTreeMap::<i32, Vec<i32>>::new());
    info.append(SqlInfo::SqlSupportsTableCorrelationNames, true);
    info.append(SqlInfo::SqlSupportsDifferentTableCorrelationNames, false);
    info.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
    info.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
    let group_by =
        [SqlSupportedGroupBy::SqlGroupByUnrelated as i32, SqlSupportedGroupBy::SqlGroupByBeyondSelect as i32];
    info.append(SqlInfo::SqlSupportedGroupBy, bits(&group_by));
    info.append(SqlInfo::SqlSupportsLikeEscapeClause, true);
    info.append(SqlInfo::SqlSupportsNonNullableColumns, true);
    info.append(SqlInfo::SqlSupportedGrammar, bits(&[SupportedSqlGrammar::SqlMinimumGrammar as i32]));
    info.append(SqlInfo::SqlAnsi92SupportedLevel, bits(&[ANSI92_ENTRY_SQL]));
    info.append(SqlInfo::SqlSupportsIntegrityEnhancementFacility, false);
    info.append(SqlInfo::SqlOuterJoinsSupportLevel, SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32);
    info.append(SqlInfo::SqlSchemaTerm, "schema");
    info.append(SqlInfo::SqlProcedureTerm, "function");
    info.append(SqlInfo::SqlCatalogTerm, "database");
    info.append(SqlInfo::SqlCatalogAtStart, true);
    let privileges = SqlSupportedElementActions::SqlElementInPrivilegeDefinitions as i32;
    info.append(SqlInfo::SqlSchemasSupportedActions, bits(&[privileges]));
    info.append(SqlInfo::SqlCatalogsSupportedActions, bits(&[]));
    info.append(SqlInfo::SqlSupportedPositionedCommands, bits(&[]));
    info.append(SqlInfo::SqlSelectForUpdateSupported, false);
    info.append(SqlInfo::SqlStoredProceduresSupported, false);
    let subqueries = [
        SqlSupportedSubqueries::SqlSubqueriesInComparisons as i32,
        SqlSupportedSubqueries::SqlSubqueriesInExists as i32,
        SqlSupportedSubqueries::SqlSubqueriesInIns as i32,
        SqlSupportedSubqueries::SqlSubqueriesInQuantifieds as i32,
    ];
    info.append(SqlInfo::SqlSupportedSubqueries, bits(&subqueries));
    info.append(SqlInfo::SqlCorrelatedSubqueriesSupported, true);
    let unions = [SqlSupportedUnions::SqlUnion as i32, SqlSupportedUnions::SqlUnionAll as i32];
    info.append(SqlInfo::SqlSupportedUnions, bits(&unions));
    let statement_bytes = i64::try_from(MAX_TEXT_BYTES).unwrap_or(UNBOUNDED);
    for literal in
        [SqlInfo::SqlMaxBinaryLiteralLength, SqlInfo::SqlMaxCharLiteralLength, SqlInfo::SqlMaxStatementLength]
    {
        info.append(literal, statement_bytes);
    }
    let items = i64::try_from(MAX_LIST_ITEMS).unwrap_or(UNBOUNDED);
    for list in [SqlInfo::SqlMaxColumnsInGroupBy, SqlInfo::SqlMaxColumnsInOrderBy, SqlInfo::SqlMaxColumnsInSelect] {
        info.append(list, items);
    }
    info.append(SqlInfo::SqlMaxTablesInSelect, i64::try_from(MAX_JOINS + 1).unwrap_or(UNBOUNDED));
    for unbounded in [
        SqlInfo::SqlMaxColumnNameLength,
        SqlInfo::SqlMaxColumnsInIndex,
        SqlInfo::SqlMaxColumnsInTable,
        SqlInfo::SqlMaxConnections,
        SqlInfo::SqlMaxCursorNameLength,
        SqlInfo::SqlMaxIndexLength,
        SqlInfo::SqlDbSchemaNameLength,
        SqlInfo::SqlMaxProcedureNameLength,
        SqlInfo::SqlMaxCatalogNameLength,
        SqlInfo::SqlMaxRowSize,
        SqlInfo::SqlMaxStatements,
        SqlInfo::SqlMaxTableNameLength,
        SqlInfo::SqlMaxUsernameLength,
    ] {
        info.append(unbounded, UNBOUNDED);
    }
    info.append(SqlInfo::SqlMaxRowSizeIncludesBlobs, true);
    let none = SqlTransactionIsolationLevel::SqlTransactionNone as i32;
    info.append(SqlInfo::SqlDefaultTransactionIsolation, none);
    info.append(SqlInfo::SqlTransactionsSupported, false);
    info.append(SqlInfo::SqlSupportedTransactionsIsolationLevels, bits(&[none]));
    info.append(SqlInfo::SqlDataDefinitionCausesTransactionCommit, false);
    info.append(SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false);
    let forward_only = SqlSupportedResultSetType::SqlResultSetTypeForwardOnly as i32;
    info.append(SqlInfo::SqlSupportedResultSetTypes, bits(&[forward_only]));
    let read_only = SqlSupportedResultSetConcurrency::SqlResultSetConcurrencyReadOnly as i32;
    info.append(SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly, bits(&[read_only]));
    for no_such_result in [
        SqlInfo::SqlSupportedConcurrenciesForResultSetUnspecified,
        SqlInfo::SqlSupportedConcurrenciesForResultSetScrollSensitive,
        SqlInfo::SqlSupportedConcurrenciesForResultSetScrollInsensitive,
    ] {
        info.append(no_such_result, bits(&[]));
    }
    for missing in [
        SqlInfo::SqlBatchUpdatesSupported,
        SqlInfo::SqlSavepointsSupported,
        SqlInfo::SqlNamedParametersSupported,
        SqlInfo::SqlLocatorsUpdateCopy,
        SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported,
    ] {
        info.append(missing, false);
    }
    info.build().map_err(Error::internal)
}

/// The columns of GetPrimaryKeys.
pub(crate) fn primary_keys() -> Schema {
    Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        text("key_name", true),
        Field::new("key_sequence", DataType::Int32, false),
    ])
}

/// The columns of GetExportedKeys, GetImportedKeys and GetCrossReference.
pub(crate) fn foreign_keys() -> Schema {
    Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ])
}

fn text(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, nullable)
}
