"""The Celery application the worker and beat processes of this suite run; the suite imports it too.

Its environment: `AMQP_URL`, `RESULT_BACKEND`, `TASK_QUEUE` (the default queue) and `TRACE_FILE` (where `tick`
and `hold` leave a line each time they start).
"""

import os

from celery import Celery
from kombu import Queue

TASK_QUEUE = os.environ["TASK_QUEUE"]
PRIORITY_QUEUE = f"{TASK_QUEUE}.priority"

app = Celery("interop", broker=os.environ["AMQP_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    task_default_queue=TASK_QUEUE,
    task_queues=[Queue(TASK_QUEUE), Queue(PRIORITY_QUEUE, max_priority=5)],
    task_publish_retry=True,
    broker_connection_retry_on_startup=True,
    broker_heartbeat=5,
    broker_transport_options={"confirm_publish": True},
    worker_prefetch_multiplier=2,
    worker_send_task_events=True,
    worker_hijack_root_logger=False,
    result_expires=60,
    enable_utc=True,
    beat_schedule={"tick": {"task": "tasks.tick", "schedule": 0.5, "args": ("beat",)}},
)


def leave_trace(line):
    with open(os.environ["TRACE_FILE"], "a", encoding="utf-8") as trace:
        trace.write(line + "\n")


@app.task
def add(left, right):
    return left + right


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail(text):
    raise ValueError(text)


@app.task(bind=True, max_retries=3)
def succeed_at_third_try(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.2)
    return self.request.retries


@app.task
def tick(source):
    leave_trace(f"tick {source}")


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def hold(self):
    """Never ends the first time, so that its worker can be killed; returns at once when redelivered."""
    if not self.request.delivery_info["redelivered"]:
        leave_trace("holding")
        while True:
            os.read(os.pipe()[0], 1)
    return "redelivered"
