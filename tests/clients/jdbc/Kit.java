package jdbc;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Properties;

/** What the checks are made of. */
final class Kit {
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

  interface Row {
    void see(ResultSet row) throws Exception;
  }

  interface Setter {
    void set(PreparedStatement statement) throws Exception;
  }

  interface Call {
    Object call() throws Exception;
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

  private Kit() {}
}
