package jdbc;

import static jdbc.Kit.*;

import java.io.ByteArrayInputStream;
import java.io.StringReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.ParameterMetaData;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.Time;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.postgresql.PGStatement;
import org.postgresql.util.PGInterval;

/** Parameters of every type and what is known of them. */
final class Parameters {
  static void given(String sql, Setter setter, Object expected) throws Exception {
    for (String options : WAYS) {
      try (Connection c = connect(options); PreparedStatement s = c.prepareStatement(sql)) {
        setter.set(s);
        ResultSet r = s.executeQuery();
        ensure(r.next(), "no row");
        same(r.getObject(1), expected);
      } catch (Exception | AssertionError error) {
        throw new AssertionError(options + " " + sql, error);
      }
    }
  }

  static void checkNumbersAsParameters(Connection unused) throws Exception {
    given("SELECT ?::bool", s -> s.setBoolean(1, true), true);
    given("SELECT ?", s -> s.setByte(1, (byte) -1), -1);
    given("SELECT ?", s -> s.setShort(1, (short) 7), 7);
    given("SELECT ?", s -> s.setInt(1, -70000), -70000);
    given("SELECT ?", s -> s.setLong(1, 1L << 40), 1L << 40);
    given("SELECT ?::float4", s -> s.setFloat(1, 0.1f), 0.1f);
    given("SELECT ?::float8", s -> s.setDouble(1, 0.1), 0.1);
    given("SELECT ?::int4 + ?::int4", s -> { s.setInt(1, 40); s.setString(2, "2"); }, 42);
  }

  static void checkSmallNumbersAsBigOnes(Connection unused) throws Exception {
    given("SELECT ?", s -> s.setObject(1, 5, Types.BIGINT), 5L);
    given("SELECT ? + 1", s -> s.setLong(1, 5), 6L);
  }

  static void checkNumericsAsParameters(Connection unused) throws Exception {
    given("SELECT ?::numeric", s -> s.setBigDecimal(1, new BigDecimal("-12.340")), new BigDecimal("-12.340"));
  }

  static void checkStringsAsIntegers(Connection unused) throws Exception {
    // With stringtype=unspecified the server finds the type of a string.
    try (Connection c = connect("?stringtype=unspecified")) {
      same(one(c, "SELECT count(*) FROM kinds WHERE id = ?", "1"), 1L);
      same(one(c, "SELECT count(*) FROM kinds WHERE d = ?", "2024-02-29"), 1L);
    }
  }

  static void checkTextsAndBytesAsParameters(Connection unused) throws Exception {
    given("SELECT ?", s -> s.setString(1, "é ' \\ \n"), "é ' \\ \n");
    given("SELECT ?", s -> s.setCharacterStream(1, new StringReader("abc"), 3), "abc");
    given("SELECT ?", s -> s.setAsciiStream(1, new ByteArrayInputStream("abc".getBytes(StandardCharsets.US_ASCII)), 3), "abc");
    for (String options : WAYS.subList(0, 2)) {
      try (Connection c = connect(options); PreparedStatement s = c.prepareStatement("SELECT ?, ?")) {
        s.setBytes(1, new byte[] {0, -1, 92});
        s.setBinaryStream(2, new ByteArrayInputStream(new byte[] {1, 2}), 2);
        ResultSet r = s.executeQuery();
        r.next();
        same(Arrays.toString(r.getBytes(1)), "[0, -1, 92]");
        same(Arrays.toString(r.getBytes(2)), "[1, 2]");
      }
    }
  }

  static void checkDatesAsParameters(Connection unused) throws Exception {
    java.sql.Date day = java.sql.Date.valueOf("2024-02-29");
    given("SELECT ?::date", s -> s.setDate(1, day), day);
    given("SELECT count(*) FROM kinds WHERE d = ?", s -> s.setDate(1, day), 1L);
  }

  static void checkTimesAsParameters(Connection unused) throws Exception {
    given("SELECT ?::time", s -> s.setTime(1, Time.valueOf("12:30:00")), Time.valueOf("12:30:00"));
  }

  static void checkTimestampsAsParameters(Connection unused) throws Exception {
    Timestamp moment = Timestamp.valueOf("2024-02-29 12:45:01.25");
    given("SELECT ?::timestamp", s -> s.setTimestamp(1, moment), moment);
    given("SELECT count(*) FROM kinds WHERE ts = ?", s -> s.setTimestamp(1, moment), 1L);
  }

  static void checkIntervalsAsParameters(Connection unused) throws Exception {
    given("SELECT ?::interval + '1 day'::interval = '2 days'::interval", s -> s.setObject(1, new PGInterval("1 day")), true);
  }

  static void checkMomentsAsParameters(Connection unused) throws Exception {
    LocalDateTime moment = LocalDateTime.of(2024, 2, 29, 12, 45, 1, 250_000_000);
    given("SELECT ?", s -> s.setObject(1, LocalDate.of(2024, 2, 29)), java.sql.Date.valueOf("2024-02-29"));
    given("SELECT ?", s -> s.setObject(1, LocalTime.of(1, 2, 3)), Time.valueOf("01:02:03"));
    given("SELECT ?", s -> s.setObject(1, moment), Timestamp.valueOf(moment));
    given("SELECT ?", s -> s.setObject(1, moment.atOffset(ZoneOffset.ofHours(3))), Timestamp.from(moment.atOffset(ZoneOffset.ofHours(3)).toInstant()));
    given("SELECT count(*) FROM kinds WHERE tz = ?", s -> s.setObject(1, moment.atOffset(ZoneOffset.UTC)), 1L);
  }

  static void checkArraysAsParameters(Connection unused) throws Exception {
    for (String options : WAYS) {
      try (Connection c = connect(options)) {
        try (PreparedStatement s = c.prepareStatement("SELECT code FROM icd10 WHERE code = ANY(?) ORDER BY code")) {
          s.setArray(1, c.createArrayOf("text", new String[] {"I10", "E11", "nope"}));
          same(all(s.executeQuery()), "[[E11], [I10]]");
        }
        try (PreparedStatement s = c.prepareStatement("SELECT ?::int4[], ?::text[]")) {
          s.setObject(1, new int[] {1, 2});
          s.setArray(2, c.createArrayOf("varchar", new String[] {"a\"b", null, ""}));
          ResultSet r = s.executeQuery();
          r.next();
          same(Arrays.toString((Object[]) r.getArray(1).getArray()), "[1, 2]");
          same(Arrays.toString((Object[]) r.getArray(2).getArray()), "[a\"b, null, ]");
        }
      } catch (Exception | AssertionError error) {
        throw new AssertionError(options, error);
      }
    }
  }

  static void checkNullsAsParameters(Connection unused) throws Exception {
    given("SELECT ?::int4", s -> s.setNull(1, Types.INTEGER), null);
    given("SELECT ?::text IS NULL", s -> s.setNull(1, Types.VARCHAR), true);
    given("SELECT ?::date", s -> s.setObject(1, null), null);
    given("SELECT coalesce(?::int4, 7)", s -> s.setNull(1, Types.NULL), 7);
    given("SELECT count(*) FROM icd10 WHERE code = ?", s -> s.setNull(1, Types.VARCHAR), 0L);
  }

  static void checkParametersInPlaces(Connection c) throws Exception {
    same(rows(c, "SELECT code FROM icd10 WHERE code IN (?, ?) ORDER BY code", "I10", "E11"), "[[E11], [I10]]");
    same(rows(c, "SELECT code FROM icd10 WHERE title LIKE ? ORDER BY code LIMIT ? OFFSET ?", "%a%", 2, 1), "[[I10], [I20]]");
    same(rows(c, "SELECT CASE WHEN ? > 3 THEN ? ELSE ? END", 4, "more", "less"), "[[more]]");
    same(rows(c, "SELECT code FROM icd10 WHERE code BETWEEN ? AND ? AND NOT title = ? ORDER BY code", "I", "J", "nothing"), "[[I10], [I20], [I21]]");
  }

  static void checkParametersOfSeries(Connection c) throws Exception {
    same(rows(c, "SELECT n FROM generate_series(?, ?) AS g(n)", 1, 3), "[[1], [2], [3]]");
  }

  static void checkParameterMetaData(Connection c) throws Exception {
    try (PreparedStatement s = c.prepareStatement("SELECT * FROM kinds WHERE i4 = ? AND t = ? AND d > ? AND n = ? LIMIT ?")) {
      ParameterMetaData about = s.getParameterMetaData();
      same(about.getParameterCount(), 5);
      List<String> types = new ArrayList<>();
      for (int i = 1; i <= 5; i++) {
        types.add(about.getParameterTypeName(i));
      }
      same(types.toString(), "[int4, text, date, numeric, int8]");
      same(about.getParameterType(1), Types.INTEGER);
      same(about.getParameterClassName(4), "java.math.BigDecimal");
    }
  }

  static void checkPreparedManyTimes(Connection c) throws Exception {
    try (PreparedStatement s = c.prepareStatement("SELECT ?::int8 * 2")) {
      for (long n = 0; n < 20; n++) {
        s.setLong(1, n);
        ResultSet r = s.executeQuery();
        r.next();
        same(r.getLong(1), 2 * n);
      }
      ensure(s.unwrap(PGStatement.class).isUseServerPrepare(), "not prepared at the server");
    }
  }

  static void checkListOfPreparedStatements(Connection c) throws Exception {
    try (PreparedStatement s = c.prepareStatement("SELECT ?::int8")) {
      s.unwrap(PGStatement.class).setPrepareThreshold(1);
      s.setLong(1, 1);
      s.executeQuery().close();
      s.executeQuery().close();
      ensure((Long) one(c, "SELECT count(*) FROM pg_prepared_statements") >= 1, "none");
    }
  }

  static void checkPreparedSurvivesDiscard(Connection c) throws Exception {
    try (PreparedStatement s = c.prepareStatement("SELECT ?::int4")) {
      s.unwrap(PGStatement.class).setPrepareThreshold(1);
      for (int n = 0; n < 5; n++) {
        s.setInt(1, n);
        s.executeQuery().next();
      }
      execute(c, "DEALLOCATE ALL");
      s.setInt(1, 9);
      ResultSet r = s.executeQuery();
      r.next();
      same(r.getInt(1), 9);
    }
  }

  static void checkTypesOfAParameterThatChanges(Connection c) throws Exception {
    try (PreparedStatement s = c.prepareStatement("SELECT ?::text")) {
      s.unwrap(PGStatement.class).setPrepareThreshold(1);
      for (int n = 0; n < 3; n++) {
        s.setInt(1, n);
        same(all(s.executeQuery()), "[[" + n + "]]");
        s.setString(1, "x");
        same(all(s.executeQuery()), "[[x]]");
        s.setNull(1, Types.DATE);
        same(all(s.executeQuery()), "[[null]]");
      }
    }
  }

  private Parameters() {}
}
