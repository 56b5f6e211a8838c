import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.*;
import java.util.concurrent.TimeUnit;
import org.postgresql.PGConnection;
import org.postgresql.PGResultSetMetaData;
import org.postgresql.PGStatement;
import org.postgresql.util.PGInterval;
import org.postgresql.util.PGobject;
import org.postgresql.util.PSQLException;

/**
 * What users of pgjdbc do, at a node with the tables of tests/tests/clients/world.rs, or at a PostgreSQL with the same:
 * java -cp postgresql.jar Jdbc.java PORT USER PASSWORD.
 */
public class Jdbc {
  /** Checks that a node fails, and why. They have to fail: one that passes is to be taken from here. */
  static final Map<String, String> KNOWN = Map.ofEntries(
      Map.entry("checkCallsOfFunctions", "a scalar function does not stand in FROM"),
      Map.entry("checkChars", "char(n) is not a type of a node"),
      Map.entry("checkColumns", "generate_series takes no bound that is an expression, and the driver finds types so"),
      Map.entry("checkCursorsInSql", "cursors do not scroll"),
      Map.entry("checkErrors", "an unknown type is 0A000, not 42704"),
      Map.entry("checkErrorsOfPreparedStatements", "a number is compared with a text that was bound as one"),
      Map.entry("checkFunctions", "proargtypes is written as an array, not as an oidvector"),
      Map.entry("checkInet", "inet is not a type of a node"),
      Map.entry("checkIntervals", "generate_series takes no bound that is an expression, and the driver finds types so"),
      Map.entry("checkIsolation", "READ UNCOMMITTED is shown as read committed"),
      Map.entry("checkJson", "json is not a type of a node"),
      Map.entry("checkJsonb", "jsonb is not a type of a node"),
      Map.entry("checkKeysAndIndexes", "information_schema._pg_expandarray is not there"),
      Map.entry("checkMetaDataOfResults", "a cast to varchar(n) is described as text"),
      Map.entry("checkMomentsAsParameters", "a date that is bound as text may have no zone behind it"),
      Map.entry("checkNotifications", "LISTEN is refused"),
      Map.entry("checkNumbersAsParameters", "a number that is cast to numeric gets ten places"),
      Map.entry("checkOids", "a name that is cast to regclass and then to oid is not the oid of the table"),
      Map.entry("checkOptionsOfTheAddress", "SET SESSION CHARACTERISTICS … READ ONLY is not seen in transaction_read_only"),
      Map.entry("checkParametersInPlaces", "generate_series takes no parameters"),
      Map.entry("checkPreparedManyTimes", "pg_prepared_statements is not there"),
      Map.entry("checkSchemaOfTheSession", "current_schema() is NULL when search_path is pg_catalog"),
      Map.entry("checkSleep", "pg_sleep is not there"),
      Map.entry("checkSpecialNumbers", "numeric has no NaN"),
      Map.entry("checkTheRestOfTheMetaData", "pg_get_keywords is not there"),
      Map.entry("checkTimeZone", "a timestamptz that is cast to text does not follow TimeZone"),
      Map.entry("checkTimesWithAZone", "timetz is not a type of a node"),
      Map.entry("checkTypeInfo", "generate_series takes no bound that is an expression, and the driver finds types so"),
      Map.entry("checkUpdatableResults", "information_schema._pg_expandarray is not there"),
      Map.entry("checkUuids", "uuid is not a type of a node"),
      Map.entry("checkVersionColumns", "generate_series takes no bound that is an expression, and the driver finds types so"));

  /** A statement that takes much longer than any check. */
  static final String LONG = "SELECT count(*) FROM generate_series(1, 1000000) AS a(n), generate_series(1, 1000000) AS b(n)";

  static final List<String> KINDS =
      List.of("id", "flag", "i2", "i4", "i8", "f4", "f8", "n", "t", "b", "d", "tm", "ts", "tz", "a4", "at");

  static String port;
  static Properties user = new Properties();

  /** Text, binary from the first time on, and the simple protocol. */
  static final List<String> WAYS = List.of("?prepareThreshold=0", "?prepareThreshold=-1", "?preferQueryMode=simple");

  static Connection connect(String options) throws SQLException {
    return DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + port + "/kanon" + options, user);
  }

  // Sessions.

  static void checkConnects(Connection c) throws Exception {
    DatabaseMetaData about = c.getMetaData();
    same(about.getDatabaseProductName(), "PostgreSQL");
    same(about.getDatabaseMajorVersion(), 15);
    String version = about.getDatabaseProductVersion().split(" ")[0];
    ensure(((String) one(c, "SELECT version()")).startsWith("PostgreSQL " + version), version);
    ensure(c.isValid(2), "not valid");
    same(c.getCatalog(), "kanon");
    same(about.getUserName(), user.get("user"));
    same(((PGConnection) c).getBackendPID(), one(c, "SELECT pg_backend_pid()"));
  }

  static void checkWaysToAsk(Connection unused) throws Exception {
    for (String mode : List.of("simple", "extended", "extendedForPrepared", "extendedCacheEverything")) {
      try (Connection c = connect("?preferQueryMode=" + mode)) {
        same(one(c, "SELECT 41 + 1"), 42);
        same(one(c, "SELECT title FROM icd10 WHERE code = ?", "I10"), "Essential hypertension");
        same(one(c, "SELECT 'it''s ' || ?", "é"), "it's é");
      }
    }
  }

  static void checkOptionsOfTheAddress(Connection unused) throws Exception {
    try (Connection c = connect("?ApplicationName=a%20test&options=-c%20TimeZone=Europe/Zurich&currentSchema=public")) {
      same(one(c, "SHOW application_name"), "a test");
      // The driver says its own time zone, and that goes before the option.
      same(one(c, "SHOW search_path"), "public");
      same(c.getClientInfo("ApplicationName"), "a test");
      c.setClientInfo("ApplicationName", "another");
      same(one(c, "SHOW application_name"), "another");
    }
    try (Connection c = connect("?assumeMinServerVersion=9.4&gssEncMode=disable&tcpKeepAlive=true&loginTimeout=5&socketTimeout=30")) {
      same(one(c, "SELECT 1"), 1);
    }
    try (Connection c = connect("?readOnly=true&readOnlyMode=always")) {
      ensure(c.isReadOnly(), "not read-only");
      same(one(c, "SHOW transaction_read_only"), "on");
    }
  }

  static void checkTargetServerType(Connection unused) throws Exception {
    for (String type : List.of("any", "preferSecondary", "preferPrimary")) {
      try (Connection c = connect("?targetServerType=" + type)) {
        same(one(c, "SELECT 1"), 1);
      }
    }
  }

  static void checkWhoMayNotIn(Connection unused) throws Exception {
    Properties wrong = new Properties();
    wrong.put("user", user.get("user"));
    wrong.put("password", "wrong");
    raises("28P01", () -> DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + port + "/kanon", wrong));
    raises("3D000", () -> DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + port + "/other", user));
  }

  static void checkSchemaOfTheSession(Connection c) throws Exception {
    same(c.getSchema(), "public");
    c.setSchema("pg_catalog");
    same(c.getSchema(), "pg_catalog");
    same(one(c, "SELECT current_schema()"), "pg_catalog");
    c.setSchema("public");
    same(one(c, "SELECT count(*) FROM icd10"), 6L);
  }

  static void checkTimeZone(Connection c) throws Exception {
    execute(c, "SET TimeZone = 'Asia/Tokyo'");
    same(one(c, "SELECT tz::text FROM kinds WHERE id = 1"), "2024-02-29 21:45:01.25+09");
    same(first(c, "SELECT tz FROM kinds WHERE id = 1").getTimestamp(1).toInstant().toString(), "2024-02-29T12:45:01.250Z");
  }

  static void checkNetworkTimeoutAndAbort(Connection c) throws Exception {
    c.setNetworkTimeout(Runnable::run, 10_000);
    same(c.getNetworkTimeout(), 10_000);
    same(one(c, "SELECT 1"), 1);
    c.abort(Runnable::run);
    ensure(c.isClosed() && !c.isValid(1), "open after abort");
  }

  static void checkNotifications(Connection c) throws Exception {
    same(((PGConnection) c).getNotifications().length, 0);
    execute(c, "LISTEN something");
    execute(c, "UNLISTEN *");
  }

  // Values.

  static void row(Connection c, String sql, Row check) throws Exception {
    try (PreparedStatement s = c.prepareStatement(sql); ResultSet r = s.executeQuery()) {
      ensure(r.next(), "no row");
      check.see(r);
    }
  }

  static void everyWay(String sql, Row check) throws Exception {
    for (String options : WAYS) {
      try (Connection c = connect(options)) {
        row(c, sql, check);
      } catch (Exception | AssertionError error) {
        throw new AssertionError(options, error);
      }
    }
  }

  static void checkNumbersOfATable(Connection unused) throws Exception {
    everyWay("SELECT * FROM kinds ORDER BY id", r -> {
      same(r.getLong("id"), 1L);
      same(r.getBoolean("flag"), true);
      same(r.getByte("i2"), (byte) -7);
      same(r.getShort("i2"), (short) -7);
      same(r.getInt("i4"), 70000);
      same(r.getLong("i8"), 1L << 40);
      same(r.getFloat("f4"), 0.1f);
      same(r.getDouble("f8"), 0.1);
      same(r.getBigDecimal("n"), new BigDecimal("-123.45"));
      same(r.getDouble("n"), -123.45);
      ensure(r.next(), "no second row");
      same(r.getBoolean("flag"), false);
      same(r.getShort("i2"), Short.MIN_VALUE);
      same(r.getInt("i4"), Integer.MIN_VALUE);
      same(r.getLong("i8"), Long.MIN_VALUE);
      same(r.getFloat("f4"), Float.MAX_VALUE);
      same(r.getDouble("f8"), Double.MIN_NORMAL);
      same(r.getBigDecimal("n"), new BigDecimal("99999999.99"));
    });
  }

  static void checkTextsAndBytesOfATable(Connection unused) throws Exception {
    everyWay("SELECT * FROM kinds ORDER BY id", r -> {
      same(r.getString("t"), "é ' \\ \t\n");
      StringWriter all = new StringWriter();
      r.getCharacterStream("t").transferTo(all);
      same(all.toString(), "é ' \\ \t\n");
      byte[] bytes = {0, (byte) 0xff, '\\'};
      same(Arrays.toString(r.getBytes("b")), Arrays.toString(bytes));
      same(Arrays.toString(r.getBinaryStream("b").readAllBytes()), Arrays.toString(bytes));
      ensure(r.next(), "no second row");
      same(r.getString("t"), "");
      same(r.getBytes("b").length, 0);
    });
  }

  static void checkMomentsOfATable(Connection unused) throws Exception {
    everyWay("SELECT * FROM kinds ORDER BY id", r -> {
      same(r.getDate("d").toString(), "2024-02-29");
      same(r.getObject("d", LocalDate.class), LocalDate.of(2024, 2, 29));
      same(r.getTime("tm").toString(), "23:59:59");
      same(r.getObject("tm", LocalTime.class), LocalTime.of(23, 59, 59, 999_999_000));
      same(r.getTimestamp("ts").toString(), "2024-02-29 12:45:01.25");
      same(r.getObject("ts", LocalDateTime.class), LocalDateTime.of(2024, 2, 29, 12, 45, 1, 250_000_000));
      same(r.getTimestamp("tz").toInstant().toString(), "2024-02-29T12:45:01.250Z");
      same(r.getObject("tz", OffsetDateTime.class).toInstant().toString(), "2024-02-29T12:45:01.250Z");
      ensure(r.next(), "no second row");
      same(r.getObject("d", LocalDate.class), LocalDate.of(1, 1, 1));
      same(r.getObject("tm", LocalTime.class), LocalTime.MIDNIGHT);
      same(r.getObject("ts", LocalDateTime.class), LocalDateTime.of(1969, 12, 31, 23, 59, 59, 999_999_000));
      same(r.getObject("tz", OffsetDateTime.class).toEpochSecond(), 0L);
    });
  }

  static void checkArraysOfATable(Connection unused) throws Exception {
    everyWay("SELECT * FROM kinds ORDER BY id", r -> {
      same(Arrays.toString((Object[]) r.getArray("a4").getArray()), "[1, null, 3]");
      same(r.getArray("a4").getBaseTypeName(), "int4");
      same(Arrays.toString((Object[]) r.getArray("at").getArray()), "[a b, q\"u'o,t\\e, ]");
      ResultSet elements = r.getArray("at").getResultSet();
      ensure(elements.next() && elements.getString(2).equals("a b"), "elements");
      ensure(r.next(), "no second row");
      same(Arrays.toString((Object[]) r.getArray("a4").getArray()), "[]");
      same(Arrays.toString((Object[]) r.getArray("at").getArray()), "[NULL, null, {}]");
    });
    everyWay("SELECT '{{1,2},{3,4}}'::int4[]", r -> same(Arrays.deepToString((Object[]) r.getArray(1).getArray()), "[[1, 2], [3, 4]]"));
  }

  static void checkNullsOfATable(Connection unused) throws Exception {
    everyWay("SELECT * FROM kinds WHERE id = 3", r -> {
      for (String column : KINDS.subList(1, KINDS.size())) {
        same(r.getObject(column), null);
        ensure(r.wasNull(), column);
        same(r.getString(column), null);
      }
      same(r.getInt("i4"), 0);
      ensure(r.wasNull(), "i4");
      same(r.getArray("a4"), null);
    });
  }

  static void checkClassesOfValues(Connection unused) throws Exception {
    everyWay("SELECT * FROM kinds ORDER BY id", r -> {
      List<String> classes = new ArrayList<>();
      for (String column : KINDS) {
        classes.add(r.getObject(column).getClass().getSimpleName());
      }
      same(classes.toString(), "[Long, Boolean, Integer, Integer, Long, Float, Double, BigDecimal, String, byte[], Date, Time, "
          + "Timestamp, Timestamp, PgArray, PgArray]");
    });
  }

  static void checkTextsOfValues(Connection unused) throws Exception {
    everyWay("SELECT * FROM kinds ORDER BY id", r -> {
      List<String> texts = new ArrayList<>();
      for (String column : KINDS) {
        if (!List.of("t", "b", "tm", "tz", "a4").contains(column)) {
          texts.add(r.getString(column));
        }
      }
      same(texts.toString(), "[1, t, -7, 70000, 1099511627776, 0.1, 0.1, -123.45, 2024-02-29, "
          + "2024-02-29 12:45:01.25, {\"a b\",\"q\\\"u'o,t\\\\e\",\"\"}]");
    });
  }

  static void checkSpecialNumbers(Connection unused) throws Exception {
    everyWay("SELECT 'NaN'::float8, 'Infinity'::float8, '-Infinity'::float4, 'NaN'::numeric, 12345678901234567890.123456789::numeric", r -> {
      ensure(Double.isNaN(r.getDouble(1)), "NaN");
      same(r.getDouble(2), Double.POSITIVE_INFINITY);
      same(r.getFloat(3), Float.NEGATIVE_INFINITY);
      ensure(Double.isNaN(r.getDouble(4)), "NaN of numeric");
      same(r.getBigDecimal(5), new BigDecimal("12345678901234567890.123456789"));
    });
  }

  static void checkIntervals(Connection unused) throws Exception {
    everyWay("SELECT INTERVAL '1 year 2 months 3 days 04:05:06.5'", r -> {
      PGInterval i = (PGInterval) r.getObject(1);
      same(List.of(i.getYears(), i.getMonths(), i.getDays(), i.getHours(), i.getMinutes(), i.getSeconds()).toString(), "[1, 2, 3, 4, 5, 6.5]");
    });
  }

  static void checkUuids(Connection unused) throws Exception {
    UUID id = UUID.fromString("0f8fad5b-d9cb-469f-a165-70867728950e");
    everyWay("SELECT '" + id + "'::uuid", r -> {
      same(r.getObject(1), id);
      same(r.getObject(1, UUID.class), id);
    });
    for (String options : WAYS) {
      try (Connection c = connect(options)) {
        same(one(c, "SELECT ?::uuid", id), id);
        same(one(c, "SELECT ?", id), id);
      }
    }
  }

  static void checkJson(Connection unused) throws Exception {
    everyWay("SELECT '{\"a\": [1, null]}'::json", r -> {
      PGobject value = (PGobject) r.getObject(1);
      same(value.getType(), "json");
      same(value.getValue(), "{\"a\": [1, null]}");
    });
  }

  static void checkJsonb(Connection unused) throws Exception {
    everyWay("SELECT '{\"a\":[1,null]}'::jsonb", r -> {
      same(((PGobject) r.getObject(1)).getType(), "jsonb");
      same(r.getString(1), "{\"a\": [1, null]}");
    });
  }

  static void checkTimesWithAZone(Connection unused) throws Exception {
    everyWay("SELECT '12:30:00+00'::timetz", r -> same(r.getString(1), "12:30:00+00"));
  }

  static void checkInet(Connection unused) throws Exception {
    everyWay("SELECT '10.0.0.1'::inet", r -> same(r.getString(1), "10.0.0.1"));
  }

  static void checkChars(Connection unused) throws Exception {
    everyWay("SELECT 'ab'::char(4), 'abc'::varchar(2)", r -> {
      same(r.getString(1), "ab  ");
      same(r.getString(2), "ab");
    });
  }

  static void checkRecords(Connection unused) throws Exception {
    everyWay("SELECT ROW(1, 'a b', NULL)", r -> same(r.getString(1), "(1,\"a b\",)"));
  }

  static void checkOids(Connection unused) throws Exception {
    everyWay("SELECT 'icd10'::regclass, 'int4'::regtype, 'icd10'::regclass::oid = (SELECT oid FROM pg_class WHERE relname = 'icd10')", r -> {
      same(r.getString(1), "icd10");
      same(r.getString(2), "integer");
      same(r.getBoolean(3), true);
    });
  }

  // Parameters.

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
    given("SELECT ?::numeric", s -> s.setBigDecimal(1, new BigDecimal("-12.340")), new BigDecimal("-12.340"));
    given("SELECT ?", s -> s.setObject(1, 5, Types.BIGINT), 5L);
    given("SELECT ?::int4 + ?::int4", s -> { s.setInt(1, 40); s.setString(2, "2"); }, 42);
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

  static void checkMomentsAsParameters(Connection unused) throws Exception {
    LocalDateTime moment = LocalDateTime.of(2024, 2, 29, 12, 45, 1, 250_000_000);
    given("SELECT ?::date", s -> s.setDate(1, java.sql.Date.valueOf("2024-02-29")), java.sql.Date.valueOf("2024-02-29"));
    given("SELECT ?::time", s -> s.setTime(1, Time.valueOf("12:30:00")), Time.valueOf("12:30:00"));
    given("SELECT ?::timestamp", s -> s.setTimestamp(1, Timestamp.valueOf(moment)), Timestamp.valueOf(moment));
    given("SELECT ?", s -> s.setObject(1, LocalDate.of(2024, 2, 29)), java.sql.Date.valueOf("2024-02-29"));
    given("SELECT ?", s -> s.setObject(1, LocalTime.of(1, 2, 3)), Time.valueOf("01:02:03"));
    given("SELECT ?", s -> s.setObject(1, moment), Timestamp.valueOf(moment));
    given("SELECT ?", s -> s.setObject(1, moment.atOffset(ZoneOffset.ofHours(3))), Timestamp.from(moment.atOffset(ZoneOffset.ofHours(3)).toInstant()));
    given("SELECT count(*) FROM kinds WHERE ts = ?", s -> s.setTimestamp(1, Timestamp.valueOf(moment)), 1L);
    given("SELECT count(*) FROM kinds WHERE tz = ?", s -> s.setObject(1, moment.atOffset(ZoneOffset.UTC)), 1L);
    given("SELECT count(*) FROM kinds WHERE d = ?", s -> s.setDate(1, java.sql.Date.valueOf("2024-02-29")), 1L);
    given("SELECT ?::interval + '1 day'::interval = '2 days'::interval", s -> s.setObject(1, new PGInterval("1 day")), true);
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
    same(rows(c, "SELECT n FROM generate_series(?, ?) AS g(n)", 1, 3), "[[1], [2], [3]]");
    same(rows(c, "SELECT code FROM icd10 WHERE code BETWEEN ? AND ? AND NOT title = ?", "I", "J", "nothing").length(), "[[I10], [I20], [I21]]".length());
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
      same(one(c, "SELECT count(*) FROM pg_prepared_statements"), 1L);
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

  // Statements.

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

  // Transactions.

  static void checkTransactions(Connection c) throws Exception {
    ensure(c.getAutoCommit(), "no autocommit");
    c.setAutoCommit(false);
    same(one(c, "SELECT 1"), 1);
    c.commit();
    raises("22012", () -> one(c, "SELECT 1 / 0"));
    raises("25P02", () -> one(c, "SELECT 1"));
    c.rollback();
    same(one(c, "SELECT 2"), 2);
    c.setAutoCommit(true);
    same(one(c, "SELECT 3"), 3);
  }

  static void checkSavepoints(Connection c) throws Exception {
    c.setAutoCommit(false);
    one(c, "SELECT 1");
    Savepoint named = c.setSavepoint("named one");
    raises("22012", () -> one(c, "SELECT 1 / 0"));
    c.rollback(named);
    Savepoint other = c.setSavepoint();
    same(one(c, "SELECT 2"), 2);
    c.releaseSavepoint(other);
    c.releaseSavepoint(named);
    raises("3B001", () -> execute(c, "ROLLBACK TO SAVEPOINT nothing"));
    c.rollback();
    try (Connection saving = connect("?autosave=always")) {
      saving.setAutoCommit(false);
      same(one(saving, "SELECT 1"), 1);
      raises("22012", () -> one(saving, "SELECT 1 / 0"));
      same(one(saving, "SELECT 2"), 2);
      saving.commit();
    }
  }

  static void checkIsolation(Connection c) throws Exception {
    same(c.getTransactionIsolation(), Connection.TRANSACTION_READ_COMMITTED);
    for (int level : new int[] {Connection.TRANSACTION_READ_UNCOMMITTED, Connection.TRANSACTION_REPEATABLE_READ,
        Connection.TRANSACTION_SERIALIZABLE, Connection.TRANSACTION_READ_COMMITTED}) {
      ensure(c.getMetaData().supportsTransactionIsolationLevel(level), "level " + level);
      c.setTransactionIsolation(level);
      same(c.getTransactionIsolation(), level);
    }
  }

  static void checkReadOnly(Connection c) throws Exception {
    c.setReadOnly(true);
    ensure(c.isReadOnly(), "not read-only");
    c.setAutoCommit(false);
    same(one(c, "SHOW transaction_read_only"), "on");
    raises("25006", () -> execute(c, "DELETE FROM icd10"));
    c.rollback();
    c.setReadOnly(false);
    same(one(c, "SELECT 1"), 1);
    c.commit();
  }

  // Results.

  static void checkFetchSize(Connection unused) throws Exception {
    for (String options : List.of("", "?defaultRowFetchSize=77", "?adaptiveFetch=true&defaultRowFetchSize=100&maxResultBuffer=10M")) {
      try (Connection c = connect(options)) {
        c.setAutoCommit(false);
        try (PreparedStatement s = c.prepareStatement("SELECT n, 'row ' || n FROM generate_series(1, 10000) AS g(n)")) {
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
      ResultSet r = s.executeQuery("SELECT n FROM generate_series(1, 10000) AS g(n)");
      ensure(r.last(), "no last");
      same(r.getRow(), 10_000);
      ensure(r.absolute(17) && r.getInt(1) == 17, "17");
      ensure(r.relative(-7) && r.getInt(1) == 10, "10");
      ensure(r.previous() && r.getInt(1) == 9, "9");
    }
  }

  static void checkCursorsInSql(Connection c) throws Exception {
    c.setAutoCommit(false);
    execute(c, "DECLARE rows SCROLL CURSOR FOR SELECT n FROM generate_series(1, 10000) AS g(n)");
    same(rows(c, "FETCH 2 FROM rows"), "[[1], [2]]");
    execute(c, "MOVE 100 FROM rows");
    same(rows(c, "FETCH NEXT FROM rows"), "[[103]]");
    same(rows(c, "FETCH PRIOR FROM rows"), "[[102]]");
    same(rows(c, "FETCH LAST FROM rows"), "[[10000]]");
    execute(c, "CLOSE rows");
    raises("34000", () -> rows(c, "FETCH 1 FROM rows"));
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
    try (PreparedStatement s = c.prepareStatement("SELECT *, 1 AS one, 'x'::varchar(7) AS v FROM kinds")) {
      ResultSetMetaData about = s.getMetaData();
      same(about.getColumnCount(), 18);
      List<String> types = new ArrayList<>();
      for (int i = 1; i <= 18; i++) {
        types.add(about.getColumnTypeName(i));
      }
      same(types.toString(),
          "[int8, bool, int2, int4, int8, float4, float8, numeric, text, bytea, date, time, timestamp, timestamptz, _int4, _text, int4, varchar]");
      same(about.getColumnLabel(17), "one");
      same(about.getTableName(4), "kinds");
      same(about.getTableName(17), "");
      same(about.unwrap(PGResultSetMetaData.class).getBaseColumnName(4), "i4");
      same(about.getPrecision(8), 10);
      same(about.getScale(8), 2);
      same(about.getPrecision(18), 7);
      same(about.getColumnDisplaySize(4), 11);
      same(about.isNullable(4), ResultSetMetaData.columnNullable);
      same(about.isNullable(17), ResultSetMetaData.columnNullableUnknown);
      ensure(about.isSigned(4) && !about.isAutoIncrement(4) && about.isCaseSensitive(9), "int4");
      same(about.getColumnClassName(8), "java.math.BigDecimal");
      same(about.getColumnType(14), Types.TIMESTAMP);
    }
  }

  // Ends.

  static void checkCancel(Connection c) throws Exception {
    try (Statement s = c.createStatement()) {
      Thread other = new Thread(() -> {
        try {
          Thread.sleep(300);
          s.cancel();
        } catch (Exception error) {
          throw new IllegalStateException(error);
        }
      });
      other.start();
      long begin = System.nanoTime();
      raises("57014", () -> s.executeQuery(LONG));
      ensure(System.nanoTime() - begin < TimeUnit.SECONDS.toNanos(5), "late");
      other.join();
    }
    same(one(c, "SELECT 1"), 1);
  }

  static void checkQueryTimeout(Connection c) throws Exception {
    try (Statement s = c.createStatement()) {
      s.setQueryTimeout(1);
      raises("57014", () -> s.executeQuery(LONG));
    }
    same(one(c, "SELECT 1"), 1);
    execute(c, "SET statement_timeout = 200");
    SQLException error = raises("57014", () -> one(c, LONG));
    ensure(error.getMessage().contains("canceling statement due to statement timeout"), error.getMessage());
  }

  static void checkSleep(Connection c) throws Exception {
    execute(c, "SET statement_timeout = 200");
    raises("57014", () -> one(c, "SELECT pg_sleep(10)"));
    one(c, "SELECT pg_sleep(0.01)");
  }

  static void checkErrors(Connection c) throws Exception {
    for (String[] about : new String[][] {
        {"42P01", "SELECT * FROM nowhere"}, {"42703", "SELECT nothing FROM icd10"}, {"42883", "SELECT nofunction(1)"},
        {"42601", "SELEC 1"}, {"22P02", "SELECT 'x'::int"}, {"22003", "SELECT 2147483647 + 1"}, {"22012", "SELECT 1 / 0"},
        {"42803", "SELECT code FROM icd10 GROUP BY title"}, {"42702", "SELECT code FROM icd10 a, icd10 b"},
        {"42704", "SELECT 1::nothing"}, {"22007", "SELECT 'x'::date"}}) {
      raises(about[0], () -> execute(c, about[1]));
    }
    PSQLException error = (PSQLException) raises("42P01", () -> one(c, "SELECT * FROM nowhere"));
    same(error.getServerErrorMessage().getMessage(), "relation \"nowhere\" does not exist");
    same(error.getServerErrorMessage().getPosition(), 15);
    same(error.getServerErrorMessage().getSeverity(), "ERROR");
  }

  static void checkErrorsOfPreparedStatements(Connection c) throws Exception {
    raises("22P02", () -> one(c, "SELECT ?::int4", "x"));
    raises("42883", () -> one(c, "SELECT nofunction(?)", 1));
    raises("42P01", () -> one(c, "SELECT * FROM nowhere WHERE a = ?", 1));
    raises("42883", () -> one(c, "SELECT count(*) FROM kinds WHERE id = ?", "1"));
    same(one(c, "SELECT 1"), 1);
  }

  // Copies.

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

  // What there is.

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

  static void checkKeysAndIndexes(Connection c) throws Exception {
    DatabaseMetaData about = c.getMetaData();
    same(column(about.getPrimaryKeys(null, "public", "icd10"), "COLUMN_NAME"), "[]");
    same(column(about.getImportedKeys(null, "public", "icd10"), "FKCOLUMN_NAME"), "[]");
    same(column(about.getExportedKeys(null, "public", "icd10"), "FKCOLUMN_NAME"), "[]");
    same(column(about.getCrossReference(null, "public", "icd10", null, "public", "kinds"), "FKCOLUMN_NAME"), "[]");
    same(column(about.getIndexInfo(null, "public", "icd10", false, true), "INDEX_NAME"), "[]");
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
    ensure(column(about.getFunctionColumns(null, "pg_catalog", "lower", "%"), "TYPE_NAME").contains("text"), "lower has no text");
    same(column(about.getProcedures(null, "public", "%"), "PROCEDURE_NAME"), "[]");
    same(column(about.getProcedureColumns(null, "public", "%", "%"), "COLUMN_NAME"), "[]");
  }

  static void checkPrivileges(Connection c) throws Exception {
    DatabaseMetaData about = c.getMetaData();
    ensure(column(about.getTablePrivileges(null, "public", "icd10"), "PRIVILEGE").contains("SELECT"), "no SELECT");
    ensure(column(about.getColumnPrivileges(null, "public", "icd10", "code"), "PRIVILEGE").contains("SELECT"), "no SELECT of a column");
  }

  static void checkTheRestOfTheMetaData(Connection c) throws Exception {
    DatabaseMetaData about = c.getMetaData();
    ensure(!column(about.getUDTs(null, "public", "%", null), "TYPE_NAME").contains("int4"), "int4");
    ensure(column(about.getClientInfoProperties(), "NAME").contains("ApplicationName"), "no ApplicationName");
    ensure(about.getSQLKeywords().contains("ilike"), about.getSQLKeywords());
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

  // The protected table.

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

  // How a check is made.

  interface Row {
    void see(ResultSet row) throws Exception;
  }

  interface Setter {
    void set(PreparedStatement statement) throws Exception;
  }

  interface Call {
    Object call() throws Exception;
  }

  interface Step {
    void run() throws Exception;
  }

  static void same(Object ours, Object expected) {
    if (!Objects.equals(ours, expected)) {
      throw new AssertionError("\n  " + ours + "\nnot\n  " + expected);
    }
  }

  static void ensure(boolean holds, String otherwise) {
    if (!holds) {
      throw new AssertionError(otherwise);
    }
  }

  /** The error that a call ends with; of this SQLSTATE, unless it is null. */
  static SQLException raises(String state, Call call) throws Exception {
    try {
      call.call();
    } catch (SQLException error) {
      if (state != null && !state.equals(error.getSQLState())) {
        throw new AssertionError("SQLSTATE " + error.getSQLState() + ", not " + state + ": " + error.getMessage());
      }
      return error;
    }
    throw new AssertionError("no error " + state);
  }

  static Object execute(Connection c, String sql) throws SQLException {
    try (Statement s = c.createStatement()) {
      return s.execute(sql);
    }
  }

  static ResultSet first(Connection c, String sql, Object... parameters) throws SQLException {
    PreparedStatement s = c.prepareStatement(sql);
    for (int i = 0; i < parameters.length; i++) {
      s.setObject(i + 1, parameters[i]);
    }
    ResultSet r = s.executeQuery();
    r.next();
    return r;
  }

  static Object one(Connection c, String sql, Object... parameters) throws SQLException {
    return first(c, sql, parameters).getObject(1);
  }

  static String rows(Connection c, String sql, Object... parameters) throws SQLException {
    try (PreparedStatement s = c.prepareStatement(sql)) {
      for (int i = 0; i < parameters.length; i++) {
        s.setObject(i + 1, parameters[i]);
      }
      return all(s.executeQuery());
    }
  }

  static String all(ResultSet r) throws SQLException {
    List<List<String>> rows = new ArrayList<>();
    while (r.next()) {
      List<String> row = new ArrayList<>();
      for (int i = 1; i <= r.getMetaData().getColumnCount(); i++) {
        row.add(r.getString(i));
      }
      rows.add(row);
    }
    return rows.toString();
  }

  static String column(ResultSet r, String name) throws SQLException {
    List<String> values = new ArrayList<>();
    while (r.next()) {
      values.add(r.getString(name));
    }
    return values.toString();
  }

  public static void main(String[] arguments) throws Exception {
    port = arguments[0];
    user.put("user", arguments[1]);
    user.put("password", arguments[2]);
    TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
    boolean node;
    try (Connection c = connect("")) {
      node = ((String) one(c, "SELECT version()")).contains("Kanon");
    }
    List<Method> checks = new ArrayList<>();
    for (Method method : Jdbc.class.getDeclaredMethods()) {
      if (method.getName().startsWith("check") || node && method.getName().startsWith("nodeChecks")) {
        checks.add(method);
      }
    }
    checks.sort(Comparator.comparing(Method::getName));
    int passed = 0;
    int known = 0;
    for (Method check : checks) {
      Throwable failure = null;
      try (Connection c = connect("")) {
        check.invoke(null, c);
      } catch (InvocationTargetException error) {
        failure = error.getCause();
      }
      String name = check.getName();
      String reason = node ? KNOWN.get(name) : null;
      if (failure == null && reason == null) {
        passed++;
      } else if (failure == null) {
        System.out.println("--- " + name + " passes, and is said to differ: " + reason);
      } else if (reason != null) {
        known++;
        System.out.println("known: " + name + ": " + reason);
      } else {
        StringBuilder all = new StringBuilder();
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
          all.append(cause).append('\n');
          for (StackTraceElement place : cause.getStackTrace()) {
            if (place.getClassName().startsWith("Jdbc")) {
              all.append("  at line ").append(place.getLineNumber()).append('\n');
            }
          }
        }
        System.out.println("--- " + name + " failed\n" + all);
      }
    }
    String version = org.postgresql.Driver.class.getPackage().getImplementationVersion();
    System.out.println("pgjdbc|" + version + "|" + checks.size() + "|" + passed + "|" + known);
    System.exit(passed + known == checks.size() ? 0 : 1);
  }
}
