"""Celery as it is deployed: a worker process, a beat process and this client, with `rpc://` results.

Chords need a backend that can count, which `rpc://` refuses, so theirs is a directory; the chord's own
unlock task then polls through the broker with countdowns, which is the harder path for it anyway.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

from harness import URL, check, equal, main, raises, unique, until

SCRATCH = Path(tempfile.mkdtemp(prefix="interop-celery-"))
TRACE = SCRATCH / "trace"
RESULT_SECONDS_MAX = 60
os.environ.update(AMQP_URL=URL, RESULT_BACKEND="rpc://", TASK_QUEUE=unique("celery"), TRACE_FILE=str(TRACE))

import celery  # noqa: E402 - after the environment its application reads
import tasks  # noqa: E402
from tasks import app  # noqa: E402


class Command:
    """A `celery …` process in its own process group, its output in a log that failures show."""

    def __init__(self, name, *arguments, **environment):
        self.name = name
        self.log = SCRATCH / f"{name}.log"
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "tasks", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=Path(__file__).parent,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, kind, _error, _traceback):
        if kind is not None:
            print(f"--- {self.name}\n{self.log.read_text()[-4000:]}\n---", flush=True)
        self.kill()

    def count(self, text):
        return self.log.read_text(encoding="utf-8").count(text)

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.terminate()
        equal(self.process.wait(timeout=RESULT_SECONDS_MAX), 0, f"exit status of {self.name}")


class Worker(Command):
    """A prefork worker of two processes, ready when it answers a ping over the control exchange."""

    def __init__(self, name, **environment):
        host = f"{name}@interop"
        super().__init__(name, "worker", "-c", "2", "-n", host, "-l", "INFO", **environment)
        until(f"a pong of {name}", lambda: app.control.ping(destination=[host], timeout=1))


def result(pending):
    return pending.get(timeout=RESULT_SECONDS_MAX)


@check
def tasks_retries_timers_groups_and_chains():
    with Worker("basics") as worker:
        equal(result(tasks.add.delay(2, 3)), 5, "a task")
        with raises(ValueError) as caught:
            result(tasks.fail.delay("as asked"))
        equal(str(caught.error), "as asked")
        equal(result(tasks.succeed_at_third_try.delay()), 2, "retries")

        started = time.monotonic()
        soon = tasks.add.apply_async((1, 1), countdown=1)
        later = tasks.add.apply_async((2, 2), eta=datetime.now(timezone.utc) + timedelta(seconds=1.5))
        equal((result(soon), time.monotonic() - started >= 1), (2, True), "countdown")
        equal((result(later), time.monotonic() - started >= 1.5), (4, True), "eta")

        equal(result(celery.group(tasks.add.s(n, n) for n in range(20)).delay()), [2 * n for n in range(20)])
        equal(result(celery.chain(tasks.add.s(1, 2), tasks.add.s(3), tasks.add.s(4)).delay()), 10, "chain")
        with raises(NotImplementedError):
            celery.chord([tasks.add.s(1, 1)])(tasks.total.s())

        many = [tasks.add.delay(n, 1) for n in range(200)]
        equal([result(pending) for pending in many], [n + 1 for n in range(200)], "200 tasks")
        urgent = tasks.add.apply_async((5, 5), queue=tasks.PRIORITY_QUEUE, priority=5)
        equal(result(urgent), 10, "a task of the priority queue")

        expired = tasks.add.apply_async((1, 1), countdown=0.5, expires=0.1)
        with raises(celery.exceptions.TaskRevokedError):
            result(expired)
        worker.stop()


@check
def remote_control_and_events():
    with Worker("control"):
        inspect = app.control.inspect(destination=["control@interop"], timeout=5)
        queues = inspect.active_queues()["control@interop"]
        equal({queue["name"] for queue in queues}, {tasks.TASK_QUEUE, tasks.PRIORITY_QUEUE})
        assert "tasks.add" in inspect.registered()["control@interop"]
        equal(app.control.rate_limit("tasks.add", "1000/s", reply=True, timeout=2)[0].popitem()[1]["ok"][:3], "new")

        revoked = tasks.add.apply_async((1, 1), countdown=60)
        app.control.revoke(revoked.id, reply=True, timeout=2)
        until("the revoked task is known", lambda: revoked.id in inspect.revoked()["control@interop"])

        with app.connection_for_read() as connection:
            succeeded = []
            receiver = app.events.Receiver(connection, handlers={"task-succeeded": succeeded.append})
            with receiver.consumer_context() as (consuming, _channel, _consumers):
                pending = tasks.add.delay(20, 22)
                until("its event", lambda: serve(consuming) or any(e["uuid"] == pending.id for e in succeeded))


def serve(connection):
    try:
        connection.drain_events(timeout=0.1)
    except TimeoutError:
        pass


@check
def chord_through_a_directory_backend():
    backend = f"file://{SCRATCH / 'results'}"
    (SCRATCH / "results").mkdir()
    script = (
        "import celery, tasks\n"
        "chord = celery.chord([tasks.add.s(n, n) for n in range(5)])(tasks.total.s())\n"
        f"print(chord.get(timeout={RESULT_SECONDS_MAX}))\n"
    )
    with Worker("chords", RESULT_BACKEND=backend):
        answer = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "RESULT_BACKEND": backend},
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=RESULT_SECONDS_MAX + 10,
        )
        equal((answer.stdout.strip(), answer.returncode), ("20", 0), answer.stderr[-2000:])


@check
def task_of_a_killed_worker_runs_again():
    with Worker("doomed") as doomed:
        pending = tasks.hold.delay()
        until("the task runs", lambda: TRACE.exists() and "holding" in TRACE.read_text())
        doomed.kill()
    with Worker("heir"):
        equal(result(pending), "redelivered")


@check
def beat_sends_periodic_tasks():
    with Worker("ticked") as worker, Command("beat", "beat", "-l", "DEBUG", "-s", str(SCRATCH / "schedule")) as beat:
        until("three ticks", lambda: TRACE.exists() and TRACE.read_text().count("tick beat") >= 3)
        # A signal that interrupts beat while it sends may leave it waiting for ever, so it has to be asleep.
        naps = beat.count("beat: Waking up")
        until("beat sleeps until the next tick", lambda: beat.count("beat: Waking up") > naps)
        beat.stop()
        worker.stop()


@check
def leave_nothing_behind():
    with app.connection_for_write() as connection:
        for queue in (tasks.TASK_QUEUE, tasks.PRIORITY_QUEUE):
            connection.default_channel.queue_delete(queue)
            connection.default_channel.exchange_delete(queue)


if __name__ == "__main__":
    main()
