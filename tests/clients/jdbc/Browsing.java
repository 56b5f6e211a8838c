package jdbc;

import static jdbc.Kit.*;

import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLWarning;
import java.sql.Statement;
import java.util.List;
import org.postgresql.PGConnection;
import org.postgresql.util.PSQLException;

/** What there is, and what is protected. */
final class Browsing {
  static void checkSchemas(Connection c) throws Exception {
    String schemas = column(c.getMetaData().getSchemas(), "TABLE_SCHEM");
    for (String schema : List.of("public", "pg_catalog", "information_schema")) {
      ensure(schemas.contains(schema), schemas);
    }
    same(column(c.getMetaData().getSchemas(null, "pub%"), "TABLE_SCHEM"), "[public]");
    ensure(column(c.getMetaData().getCatalogs(), "TABLE_CAT").contains("kanon"), "no kanon");
    ensure(column(c.getMetaData().getTableTypes(), "TABLE_TYPE").contains("TABLE"), "no tables");
  }

  static void checkTables(Connection c) throws Exception {
    DatabaseMetaData about = c.getMetaData();
    same(column(about.getTables(null, "public", "%", new String[] {"TABLE"}), "TABLE_NAME"), "[heart_disease, icd10, kinds, visits]");
    ensure(column(about.getTables(null, null, "%", null), "TABLE_NAME").contains("pg_class"), "no pg_class");
    same(column(about.getTables("kanon", "public", "icd%", null), "REMARKS"), "[titles of diagnoses]");
    same(column(about.getTables(null, "public", "nothing", null), "TABLE_NAME"), "[]");
    ensure(column(about.getTables(null, "pg_catalog", "pg_tables", null), "TABLE_TYPE").equals("[SYSTEM VIEW]"), "pg_tables");
  }

  static void checkColumns(Connection c) throws Exception {
    DatabaseMetaData about = c.getMetaData();
    same(column(about.getColumns(null, "public", "kinds", "%"), "COLUMN_NAME"), KINDS.toString());
    same(column(about.getColumns(null, "public", "kinds", "%"), "TYPE_NAME"),
        "[int8, bool, int2, int4, int8, float4, float8, numeric, text, bytea, date, time, timestamp, timestamptz, _int4, _text]");
    same(column(about.getColumns(null, "public", "kinds", "n"), "COLUMN_SIZE"), "[10]");
    same(column(about.getColumns(null, "public", "kinds", "n"), "DECIMAL_DIGITS"), "[2]");
    same(column(about.getColumns(null, "public", "kinds", "i_"), "ORDINAL_POSITION"), "[1, 3, 4, 5]");
    same(column(about.getColumns(null, "public", "heart_disease", "age"), "REMARKS"), "[in years]");
    same(column(about.getColumns(null, "public", "heart_disease", "age"), "IS_NULLABLE"), "[YES]");
    same(column(about.getColumns(null, "public", "heart_disease", "age"), "IS_AUTOINCREMENT"), "[NO]");
    ensure(column(about.getColumns(null, "pg_catalog", "pg_class", "%"), "COLUMN_NAME").contains("relname"), "no relname");
  }

  static void checkPrimaryKeys(Connection c) throws Exception {
    DatabaseMetaData about = c.getMetaData();
    same(column(about.getPrimaryKeys(null, "public", "icd10"), "COLUMN_NAME"), "[]");
  }

  static void checkForeignKeys(Connection c) throws Exception {
    DatabaseMetaData about = c.getMetaData();
    same(column(about.getImportedKeys(null, "public", "icd10"), "FKCOLUMN_NAME"), "[]");
    same(column(about.getExportedKeys(null, "public", "icd10"), "FKCOLUMN_NAME"), "[]");
    same(column(about.getCrossReference(null, "public", "icd10", null, "public", "kinds"), "FKCOLUMN_NAME"), "[]");
  }

  static void checkIndexes(Connection c) throws Exception {
    DatabaseMetaData about = c.getMetaData();
    same(column(about.getIndexInfo(null, "public", "icd10", false, true), "INDEX_NAME"), "[]");
  }

  static void checkBestRowIdentifier(Connection c) throws Exception {
    DatabaseMetaData about = c.getMetaData();
    same(column(about.getBestRowIdentifier(null, "public", "icd10", 0, true), "COLUMN_NAME"), "[]");
  }

  static void checkVersionColumns(Connection c) throws Exception {
    same(column(c.getMetaData().getVersionColumns(null, "public", "icd10"), "COLUMN_NAME"), "[ctid]");
  }

  static void checkTypeInfo(Connection c) throws Exception {
    String types = column(c.getMetaData().getTypeInfo(), "TYPE_NAME");
    for (String type : List.of("bool", "int2", "int4", "int8", "float4", "float8", "numeric", "text", "varchar", "bytea", "date", "time",
        "timestamp", "timestamptz", "interval", "uuid", "json", "oid", "name", "_int4", "_text")) {
      ensure(types.contains(" " + type + ",") || types.contains("[" + type + ","), type + " of " + types);
    }
  }

  static void checkFunctions(Connection c) throws Exception {
    DatabaseMetaData about = c.getMetaData();
    ensure(column(about.getFunctions(null, "pg_catalog", "lower"), "FUNCTION_NAME").startsWith("[lower"), "no lower");
    same(column(about.getProcedures(null, "public", "%"), "PROCEDURE_NAME"), "[]");
  }

  static void checkColumnsOfFunctions(Connection c) throws Exception {
    DatabaseMetaData about = c.getMetaData();
    ensure(column(about.getFunctionColumns(null, "pg_catalog", "lower", "%"), "TYPE_NAME").contains("text"), "lower has no text");
    same(column(about.getProcedureColumns(null, "public", "%", "%"), "COLUMN_NAME"), "[]");
  }

  static void checkPrivileges(Connection c) throws Exception {
    DatabaseMetaData about = c.getMetaData();
    ensure(column(about.getTablePrivileges(null, "public", "icd10"), "PRIVILEGE").contains("SELECT"), "no SELECT");
    ensure(column(about.getColumnPrivileges(null, "public", "icd10", "code"), "PRIVILEGE").contains("SELECT"), "no SELECT of a column");
  }

  static void checkKeywords(Connection c) throws Exception {
    String words = c.getMetaData().getSQLKeywords();
    ensure(words.contains("ilike"), words);
  }

  static void checkTheRestOfTheMetaData(Connection c) throws Exception {
    DatabaseMetaData about = c.getMetaData();
    ensure(!column(about.getUDTs(null, "public", "%", null), "TYPE_NAME").contains("int4"), "int4");
    ensure(column(about.getClientInfoProperties(), "NAME").contains("ApplicationName"), "no ApplicationName");
    same(about.getMaxColumnNameLength(), 63);
    same(about.getMaxColumnsInIndex(), 32);
    same(about.getDefaultTransactionIsolation(), Connection.TRANSACTION_READ_COMMITTED);
    ensure(!about.isReadOnly() && about.supportsTransactions() && about.supportsSavepoints(), "transactions");
    same(about.getIdentifierQuoteString(), "\"");
  }

  static void checkBackslashesAreOrdinary(Connection c) throws Exception {
    ensure(((PGConnection) c).escapeLiteral("a\\b'c").equals("a\\b''c"), "standard_conforming_strings");
    same(one(c, "SELECT 'a\\b'"), "a\\b");
    same(((PGConnection) c).getParameterStatuses().get("standard_conforming_strings"), "on");
    same(((PGConnection) c).getParameterStatuses().get("server_encoding"), "UTF8");
    same(((PGConnection) c).getParameterStatuses().get("integer_datetimes"), "on");
    same(((PGConnection) c).getParameterStatuses().get("DateStyle"), "ISO, MDY");
  }

  static void nodeChecksAggregateOfAProtectedTable(Connection c) throws Exception {
    c.setAutoCommit(false);
    try (PreparedStatement s = c.prepareStatement(
        "SELECT sex, count(*), avg(age) FROM heart_disease WHERE age > ? GROUP BY sex ORDER BY sex")) {
      s.setInt(1, 40);
      s.setFetchSize(1);
      ResultSet r = s.executeQuery();
      ensure(r.next() && r.getString(1).equals("female") && r.getLong(2) >= 10, "no women");
      ensure(r.next() && r.getString(1).equals("male") && r.getBigDecimal(3).intValue() > 40, "no men");
      ensure(!r.next(), "a third row");
    }
  }

  static void nodeChecksWarningOfWithheldGroups(Connection c) throws Exception {
    try (Statement s = c.createStatement()) {
      ResultSet r = s.executeQuery("SELECT age, count(*) FROM heart_disease GROUP BY age");
      while (r.next()) {
        ensure(r.getLong(2) >= 10, "a group of " + r.getLong(2));
      }
      SQLWarning warning = s.getWarnings();
      ensure(warning != null && warning.getMessage().contains("withheld"), "no warning");
    }
  }

  static void nodeChecksRowsAreRefused(Connection c) throws Exception {
    PSQLException error = (PSQLException) raises("42501", () -> one(c, "SELECT * FROM heart_disease"));
    ensure(error.getServerErrorMessage().getHint() != null, "no hint");
    raises("42501", () -> one(c, "SELECT age FROM heart_disease WHERE patient_id = ?", 1));
    raises("42501", () -> rows(c, "SELECT min(age) FROM heart_disease"));
    c.setAutoCommit(false);
    raises("42501", () -> execute(c, "DECLARE rows CURSOR FOR SELECT * FROM heart_disease"));
    c.rollback();
    raises("42501", () -> ((PGConnection) c).getCopyAPI().copyOut("COPY heart_disease TO STDOUT", new StringWriter()));
  }

  static void nodeChecksFederation(Connection c) throws Exception {
    ensure((Long) one(c, "SELECT count(*) FROM federation.heart_disease") > 400, "one site only");
    ensure(column(c.getMetaData().getColumns(null, "federation", "icd10", "%"), "COLUMN_NAME").equals("[code, title, site]"), "columns");
  }

  private Browsing() {}
}
