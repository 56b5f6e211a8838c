package jdbc;

import static jdbc.Kit.*;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.sql.Connection;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TimeZone;

/**
 * What users of pgjdbc do, at a node with the tables of tests/tests/clients/world.rs, or at a PostgreSQL with the same: run PORT USER
 * PASSWORD.
 */
final class Jdbc {
  /** Checks that a node fails, and why. They have to fail: one that passes is to be taken from here. */
  static final Map<String, String> KNOWN = Map.of("checkNotANumberOfNumeric", "numeric has no NaN");

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
    for (Class<?> part : List.of(Sessions.class, Values.class, Parameters.class, Statements.class, Browsing.class)) {
      for (Method method : part.getDeclaredMethods()) {
        if (method.getName().startsWith("check") || node && method.getName().startsWith("nodeChecks")) {
          checks.add(method);
        }
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
            if (place.getClassName().startsWith("jdbc")) {
              all.append("  at ").append(place).append('\n');
            }
          }
        }
        System.out.println("--- " + name + " failed\n" + all);
      }
    }
    for (String name : KNOWN.keySet()) {
      if (checks.stream().noneMatch(check -> check.getName().equals(name))) {
        System.out.println("--- " + name + " is said to differ, and there is no such check");
        passed--;
      }
    }
    String version = org.postgresql.Driver.class.getPackage().getImplementationVersion();
    System.out.println("pgjdbc|" + version + "|" + checks.size() + "|" + passed + "|" + known);
    System.exit(passed + known == checks.size() ? 0 : 1);
  }

  private Jdbc() {}
}
