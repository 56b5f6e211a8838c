package jdbc;

import static jdbc.Kit.*;

import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.postgresql.PGConnection;
import org.postgresql.PGResultSetMetaData;

/** Statements, their results and copies. */
final class Statements {
  static void checkSeveralStatements(Connection c) throws Exception {
    try (Statement s = c.createStatement()) {
      ensure(s.execute("SELECT 1; SET application_name = 'x'; SELECT 2, 'b'"), "no result");
      same(all(s.getResultSet()), "[[1]]");
      ensure(!s.getMoreResults(), "SET has rows");
      same(s.getUpdateCount(), 0);
      ensure(s.getMoreResults(), "no second result");
      same(all(s.getResultSet()), "[[2, b]]");
      ensure(!s.getMoreResults() && s.getUpdateCount() == -1, "a fourth result");
      s.execute("");
      s.execute("-- a comment");
    }
  }

  static void checkEscapes(Connection c) throws Exception {
    same(one(c, "SELECT {fn concat('a', 'b')}"), "ab");
    same(one(c, "SELECT {fn ucase('a')} || {fn substring('abc', 2, 1)}"), "Ab");
    same(one(c, "SELECT {d '2024-02-29'}").toString(), "2024-02-29");
    same(one(c, "SELECT {ts '2024-02-29 12:00:00'}").toString(), "2024-02-29 12:00:00.0");
    same(one(c, "SELECT count(*) FROM {oj icd10 a LEFT OUTER JOIN icd10 b ON a.code = b.code}"), 6L);
    same(one(c, "SELECT 'a%' LIKE 'a|%' {escape '|'}"), true);
    same(one(c, "SELECT {fn year({d '2024-02-29'})}").toString().substring(0, 4), "2024");
    same(one(c, "SELECT {fn curdate()} = CURRENT_DATE"), true);
  }

  static void checkTimestampArithmeticOfEscapes(Connection c) throws Exception {
    same(one(c, "SELECT {fn timestampadd(SQL_TSI_DAY, 1, {ts '2024-02-28 12:00:00'})}").toString(), "2024-02-29 12:00:00.0");
  }

  static void checkCallsOfFunctions(Connection c) throws Exception {
    try (CallableStatement s = c.prepareCall("{? = call upper(?)}")) {
      s.registerOutParameter(1, Types.VARCHAR);
      s.setString(2, "abc");
      s.execute();
      same(s.getString(1), "ABC");
    }
  }

  static void checkMaxRows(Connection c) throws Exception {
    try (Statement s = c.createStatement()) {
      s.setMaxRows(3);
      same(all(s.executeQuery("SELECT n FROM generate_series(1, 1000) AS g(n)")), "[[1], [2], [3]]");
      s.setMaxRows(0);
      s.setFetchSize(2);
      same(all(s.executeQuery("SELECT n FROM generate_series(1, 3) AS g(n)")), "[[1], [2], [3]]");
    }
  }

  static void checkWritesAreRefused(Connection c) throws Exception {
    try (Statement s = c.createStatement()) {
      raises("25006", () -> s.executeUpdate("INSERT INTO icd10 VALUES ('Z99', 'x')"));
      raises("25006", () -> s.executeUpdate("UPDATE icd10 SET title = 'x'"));
      raises("25006", () -> s.executeUpdate("DELETE FROM icd10"));
      raises("25006", () -> s.executeUpdate("CREATE TABLE t (a int)"));
      raises("25006", () -> s.executeUpdate("TRUNCATE icd10"));
    }
    try (PreparedStatement s = c.prepareStatement("INSERT INTO icd10 VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
      s.setString(1, "Z99");
      s.setString(2, "x");
      raises("25006", s::executeUpdate);
    }
  }

  static void checkBatchesAreRefused(Connection c) throws Exception {
    try (PreparedStatement s = c.prepareStatement("INSERT INTO icd10 VALUES (?, ?)")) {
      for (int n = 0; n < 3; n++) {
        s.setString(1, "Z" + n);
        s.setString(2, "x");
        s.addBatch();
      }
      raises("25006", s::executeBatch);
    }
    try (Statement s = c.createStatement()) {
      s.addBatch("SET application_name = 'a'");
      s.addBatch("SET application_name = 'b'");
      same(Arrays.toString(s.executeBatch()), "[0, 0]");
    }
    same(one(c, "SHOW application_name"), "b");
  }

  static void checkFetchSize(Connection unused) throws Exception {
    for (String options : List.of("", "?defaultRowFetchSize=77", "?adaptiveFetch=true&defaultRowFetchSize=100&maxResultBuffer=10M")) {
      try (Connection c = connect(options)) {
        c.setAutoCommit(false);
        try (PreparedStatement s = c.prepareStatement("SELECT n, 'row ' || n FROM generate_series(1, 10000) AS g(n) ORDER BY n")) {
          if (options.isEmpty()) {
            s.setFetchSize(100);
          }
          ResultSet r = s.executeQuery();
          int n = 0;
          while (r.next()) {
            n++;
            same(r.getInt(1), n);
            same(r.getString(2), "row " + n);
          }
          same(n, 10_000);
          // A portal that is left in the middle.
          r = s.executeQuery();
          r.next();
          r.close();
        }
        same(one(c, "SELECT 1"), 1);
        c.commit();
      }
    }
  }

  static void checkTwoResultsAtATime(Connection c) throws Exception {
    c.setAutoCommit(false);
    try (Statement a = c.createStatement(); Statement b = c.createStatement()) {
      a.setFetchSize(10);
      b.setFetchSize(7);
      ResultSet x = a.executeQuery("SELECT n FROM generate_series(1, 1000) AS g(n)");
      ResultSet y = b.executeQuery("SELECT n FROM generate_series(1001, 2000) AS g(n)");
      for (int n = 1; n <= 1000; n++) {
        ensure(x.next() && y.next(), "row " + n);
        same(x.getInt(1) + 1000, y.getInt(1));
      }
    }
    c.commit();
  }

  static void checkScrolling(Connection c) throws Exception {
    try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY)) {
      ResultSet r = s.executeQuery("SELECT n FROM generate_series(1, 10000) AS g(n) ORDER BY n");
      ensure(r.last(), "no last");
      same(r.getRow(), 10_000);
      ensure(r.absolute(17) && r.getInt(1) == 17, "17");
      ensure(r.relative(-7) && r.getInt(1) == 10, "10");
      ensure(r.previous() && r.getInt(1) == 9, "9");
    }
  }

  static void checkCursorsInSql(Connection c) throws Exception {
    c.setAutoCommit(false);
    execute(c, "DECLARE rows CURSOR FOR SELECT n FROM generate_series(1, 10000) AS g(n) ORDER BY n");
    same(rows(c, "FETCH 2 FROM rows"), "[[1], [2]]");
    execute(c, "MOVE 100 FROM rows");
    same(rows(c, "FETCH NEXT FROM rows"), "[[103]]");
    execute(c, "CLOSE rows");
    raises("34000", () -> rows(c, "FETCH 1 FROM rows"));
  }

  static void checkScrollingCursorsInSql(Connection c) throws Exception {
    c.setAutoCommit(false);
    execute(c, "DECLARE rows SCROLL CURSOR FOR SELECT n FROM generate_series(1, 10000) AS g(n) ORDER BY n");
    same(rows(c, "FETCH 2 FROM rows"), "[[1], [2]]");
    execute(c, "MOVE 100 FROM rows");
    same(rows(c, "FETCH NEXT FROM rows"), "[[103]]");
    same(rows(c, "FETCH PRIOR FROM rows"), "[[102]]");
    same(rows(c, "FETCH LAST FROM rows"), "[[10000]]");
  }

  static void checkHoldableResults(Connection c) throws Exception {
    c.setAutoCommit(false);
    execute(c, "DECLARE held CURSOR WITH HOLD FOR SELECT n FROM generate_series(1, 10) AS g(n)");
    c.commit();
    same(rows(c, "FETCH 1 FROM held"), "[[1]]");
    c.commit();
    same(c.getHoldability(), ResultSet.CLOSE_CURSORS_AT_COMMIT);
    c.setHoldability(ResultSet.HOLD_CURSORS_OVER_COMMIT);
    same(one(c, "SELECT 1"), 1);
  }

  static void checkUpdatableResults(Connection c) throws Exception {
    try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
      ResultSet r = s.executeQuery("SELECT * FROM icd10");
      ensure(r.next(), "no row");
      SQLException error = raises(null, () -> { r.updateString("title", "x"); return null; });
      ensure(error.getMessage().contains("No eligible primary or unique key"), error.getMessage());
    }
  }

  static void checkMetaDataOfResults(Connection c) throws Exception {
    try (PreparedStatement s = c.prepareStatement("SELECT *, 1 AS one, 'x'::text AS v FROM kinds")) {
      ResultSetMetaData about = s.getMetaData();
      same(about.getColumnCount(), 18);
      List<String> types = new ArrayList<>();
      for (int i = 1; i <= 18; i++) {
        types.add(about.getColumnTypeName(i));
      }
      same(types.toString(),
          "[int8, bool, int2, int4, int8, float4, float8, numeric, text, bytea, date, time, timestamp, timestamptz, _int4, _text, int4, text]");
      same(about.getColumnLabel(17), "one");
      same(about.getPrecision(8), 10);
      same(about.getScale(8), 2);
      same(about.getColumnDisplaySize(4), 11);
      ensure(about.isSigned(4) && about.isCaseSensitive(9), "int4");
      same(about.getColumnClassName(8), "java.math.BigDecimal");
      same(about.getColumnType(14), Types.TIMESTAMP);
    }
  }

  static void checkOriginsOfColumns(Connection c) throws Exception {
    try (PreparedStatement s = c.prepareStatement("SELECT i4, 1 AS one FROM kinds")) {
      ResultSetMetaData about = s.getMetaData();
      same(about.getTableName(1), "kinds");
      same(about.getTableName(2), "");
      same(about.unwrap(PGResultSetMetaData.class).getBaseColumnName(1), "i4");
      same(about.isNullable(1), ResultSetMetaData.columnNullable);
      same(about.isNullable(2), ResultSetMetaData.columnNullableUnknown);
      ensure(!about.isAutoIncrement(1), "i4");
    }
  }

  static void checkLengthsOfVarchars(Connection c) throws Exception {
    try (PreparedStatement s = c.prepareStatement("SELECT 'x'::varchar(7)")) {
      same(s.getMetaData().getColumnTypeName(1), "varchar");
      same(s.getMetaData().getPrecision(1), 7);
      same(s.getMetaData().getColumnLabel(1), "varchar");
    }
  }

  static void checkCopyOut(Connection c) throws Exception {
    var copies = ((PGConnection) c).getCopyAPI();
    StringWriter text = new StringWriter();
    same(copies.copyOut("COPY (SELECT code, NULL FROM icd10 ORDER BY code LIMIT 2) TO STDOUT", text), 2L);
    same(text.toString(), "E11\t\\N\nI10\t\\N\n");
    StringWriter csv = new StringWriter();
    copies.copyOut("COPY icd10 (code) TO STDOUT WITH (FORMAT csv, HEADER true, FORCE_QUOTE (code))", csv);
    ensure(csv.toString().startsWith("code\n\"E11\"\n"), csv.toString());
    ByteArrayOutputStream binary = new ByteArrayOutputStream();
    same(copies.copyOut("COPY (SELECT n FROM generate_series(1, 10000) AS g(n)) TO STDOUT (FORMAT binary)", binary), 10_000L);
    ensure(binary.toString(StandardCharsets.ISO_8859_1).startsWith("PGCOPY\n"), "no signature");
    raises("25006", () -> copies.copyIn("COPY icd10 FROM STDIN", new StringReader("a\tb\n")));
    same(one(c, "SELECT 1"), 1);
  }

  private Statements() {}
}
