package interop;

import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Named checks run in order, each with a deadline, and polling with a deadline. */
final class Harness {
  static final long CHECK_SECONDS_MAX = 120;
  static final long ARRIVAL_SECONDS_MAX = 60;
  private static final long POLL_MS = 10;

  interface Check {
    void run() throws Exception;
  }

  interface Condition<T> {
    /** Null or false means "not yet". */
    T poll() throws Exception;
  }

  private record Named(String name, Check check) {}

  private final List<Named> checks = new ArrayList<>();
  private final String runId = UUID.randomUUID().toString().substring(0, 8);
  private int counter;

  void check(String name, Check check) {
    checks.add(new Named(name, check));
  }

  /** A queue or exchange name no other check or run uses. */
  String unique(String stem) {
    counter++;
    return "interop." + stem + "." + runId + "." + counter;
  }

  static <T> T until(String what, Condition<T> condition) throws Exception {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(ARRIVAL_SECONDS_MAX);
    while (true) {
      T value = condition.poll();
      if (value != null && !Boolean.FALSE.equals(value)) {
        return value;
      }
      if (System.nanoTime() > deadline) {
        throw new AssertionError("not within " + ARRIVAL_SECONDS_MAX + " s: " + what);
      }
      TimeUnit.MILLISECONDS.sleep(POLL_MS);
    }
  }

  static void equal(Object actual, Object expected, String what) {
    if (!Objects.deepEquals(actual, expected)) {
      throw new AssertionError(what + ": expected " + expected + ", got " + actual);
    }
  }

  static void isTrue(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError(what);
    }
  }

  /** Runs all checks; the number that failed. */
  int run() {
    ExecutorService runner =
        Executors.newCachedThreadPool(
            task -> {
              Thread thread = new Thread(task);
              thread.setDaemon(true);
              return thread;
            });
    int failed = 0;
    for (Named named : checks) {
      long started = System.nanoTime();
      try {
        runner
            .submit(
                () -> {
                  named.check.run();
                  return null;
                })
            .get(CHECK_SECONDS_MAX, TimeUnit.SECONDS);
        long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - started);
        System.out.println("ok   " + named.name + " (" + millis + " ms)");
      } catch (TimeoutException e) {
        failed++;
        System.out.println("FAIL " + named.name + ": did not end within " + CHECK_SECONDS_MAX + " s");
      } catch (Exception e) {
        failed++;
        Throwable cause = e.getCause() == null ? e : e.getCause();
        System.out.println("FAIL " + named.name + ": " + cause);
        cause.printStackTrace(System.out);
      }
    }
    if (failed > 0) {
      System.out.println(failed + " failed");
    }
    return failed;
  }
}
