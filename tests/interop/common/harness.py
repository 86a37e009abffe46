"""What the Python suites share: checks that run in file order, unique names, polling with a deadline.

A suite decorates functions with `check` and ends in `main()`. A check passes by returning and fails by
raising; one that hangs is killed with a traceback after `CHECK_SECONDS_MAX`. No client library is used here.
"""

import faulthandler
import itertools
import os
import socket
import sys
import time
import traceback
import uuid

CHECK_SECONDS_MAX = 120
POLL_SECONDS = 0.01

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")

_checks = []
_run_id = uuid.uuid4().hex[:8]
_counter = itertools.count(1)


def check(function):
    """Registers `function` as one check of the suite."""
    _checks.append(function)
    return function


def unique(stem):
    """A queue, exchange or tag name no other check or run uses."""
    return f"interop.{stem}.{_run_id}.{next(_counter)}"


def until(what, condition, seconds=60):
    """Polls `condition` until it is truthy and returns its value; `what` names it in the failure."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(POLL_SECONDS)
    return value


# Below those that the kernel gives to clients: nobody takes one before it is used, or while its server is down.
_ports = itertools.count(os.getpid() * 101)


def free_port():
    """A port of 127.0.0.1 nothing listens on, another one each time."""
    while True:
        port = 10_000 + next(_ports) % 22_000
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def equal(actual, expected, what="value"):
    """Fails with both sides shown when they differ."""
    assert actual == expected, f"{what}: expected {expected!r}, got {actual!r}"


class raises:
    """`with raises(SomeError) as caught:` fails unless the body raises it; `caught.error` is the error."""

    def __init__(self, *kinds):
        self.kinds = kinds
        self.error = None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _traceback):
        assert kind is not None, f"expected {self.kinds}, nothing was raised"
        self.error = error
        return issubclass(kind, self.kinds)


def main():
    """Runs the checks (or those whose name contains an argument) and exits with 0 or 1."""
    wanted = sys.argv[1:]
    failed = []
    for function in _checks:
        label = function.__name__
        if wanted and not any(part in label for part in wanted):
            continue
        started = time.monotonic()
        faulthandler.dump_traceback_later(CHECK_SECONDS_MAX, exit=True)
        try:
            function()
        except Exception as error:  # noqa: BLE001 - a check may fail in any way
            failed.append(label)
            traceback.print_exc(limit=-4)
            print(f"FAIL {label}: {type(error).__name__}: {error}", flush=True)
        else:
            print(f"ok   {label} ({time.monotonic() - started:.2f} s)", flush=True)
        finally:
            faulthandler.cancel_dump_traceback_later()
    if failed:
        print(f"{len(failed)} failed: {', '.join(failed)}", flush=True)
    sys.exit(1 if failed else 0)
