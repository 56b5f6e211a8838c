package jdbc;

import static jdbc.Kit.*;

import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import org.postgresql.PGConnection;
import org.postgresql.util.PSQLException;

/** Connections, their settings and their ends. */
final class Sessions {
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
  }

  static void checkReadOnlyAlways(Connection unused) throws Exception {
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
    same(one(c, "SHOW TimeZone"), "Asia/Tokyo");
    same(first(c, "SELECT tz FROM kinds WHERE id = 1").getTimestamp(1).toInstant().toString(), "2024-02-29T12:45:01.250Z");
  }

  static void checkTextsOfMomentsInAZone(Connection c) throws Exception {
    execute(c, "SET TimeZone = 'Asia/Tokyo'");
    same(one(c, "SELECT tz::text FROM kinds WHERE id = 1"), "2024-02-29 21:45:01.25+09");
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
        {"42703", "SELECT code FROM icd10 ORDER BY nothing"}}) {
      raises(about[0], () -> execute(c, about[1]));
    }
    PSQLException error = (PSQLException) raises("42P01", () -> one(c, "SELECT * FROM nowhere"));
    same(error.getServerErrorMessage().getMessage(), "relation \"nowhere\" does not exist");
    same(error.getServerErrorMessage().getPosition(), 15);
    same(error.getServerErrorMessage().getSeverity(), "ERROR");
  }

  static void checkErrorsOfMoments(Connection c) throws Exception {
    for (String type : List.of("date", "time", "timestamp", "interval")) {
      raises("22007", () -> execute(c, "SELECT 'x'::" + type));
    }
    raises("22008", () -> execute(c, "SELECT '2024-13-45'::date"));
  }

  static void checkUnknownTypes(Connection c) throws Exception {
    raises("42704", () -> execute(c, "SELECT 1::nothing"));
  }

  static void checkNumbersBesideTexts(Connection c) throws Exception {
    raises("42883", () -> one(c, "SELECT count(*) FROM kinds WHERE id = ?", "1"));
  }

  static void checkErrorsOfPreparedStatements(Connection c) throws Exception {
    raises("22P02", () -> one(c, "SELECT ?::int4", "x"));
    raises("42883", () -> one(c, "SELECT nofunction(?)", 1));
    raises("42P01", () -> one(c, "SELECT * FROM nowhere WHERE a = ?", 1));
    same(one(c, "SELECT 1"), 1);
  }

  private Sessions() {}
}
