package jdbc;

import static jdbc.Kit.*;

import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.ResultSet;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import org.postgresql.util.PGInterval;
import org.postgresql.util.PGobject;

/** Values of every type, in text and in binary. */
final class Values {
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
    everyWay("SELECT 'NaN'::float8, 'Infinity'::float8, '-Infinity'::float4, 12345678901234567890.123456789::numeric", r -> {
      ensure(Double.isNaN(r.getDouble(1)), "NaN");
      same(r.getDouble(2), Double.POSITIVE_INFINITY);
      same(r.getFloat(3), Float.NEGATIVE_INFINITY);
      same(r.getBigDecimal(4), new BigDecimal("12345678901234567890.123456789"));
    });
  }

  static void checkNotANumberOfNumeric(Connection unused) throws Exception {
    everyWay("SELECT 'NaN'::numeric", r -> ensure(Double.isNaN(r.getDouble(1)), "NaN"));
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
    everyWay("SELECT 'icd10'::regclass, 'int4'::regtype, 'int4'::regtype::oid", r -> {
      same(r.getString(1), "icd10");
      same(r.getString(2), "integer");
      same(r.getLong(3), 23L);
    });
  }

  static void checkOidsOfTables(Connection unused) throws Exception {
    String oid = "SELECT oid FROM pg_class WHERE relname = 'icd10' AND relnamespace = 'public'::regnamespace";
    everyWay("SELECT 'icd10'::regclass::oid, (" + oid + ")", r -> same(r.getLong(1), r.getLong(2)));
  }

  private Values() {}
}
