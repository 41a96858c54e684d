"""Who gets into the broker learns nothing there and stops nothing."""

from __future__ import annotations

import bz2
import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tests.grown import Grown
from tests.operations.fleet import until
from xmailadmin.celery import app

QUEUES = ("quick", "hosts", "diagnosis")


def message(**changes: Any) -> dict[str, Any]:
    """A message as Celery writes it, but for the changes; its task is to sweep."""
    tag = {"exchange": "xmailadmin", "routing_key": "quick"}
    properties = {
        "body_encoding": "base64", "delivery_info": tag, "delivery_mode": 2, "delivery_tag": "t1",
        "priority": 0, "correlation_id": "1",
    }  # fmt: skip
    headers = {"id": "1", "task": "hosts.tasks.sweep", "lang": "py", "root_id": "1"}
    return {
        "body": b64encode(b"[[], {}, {}]").decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers | changes.pop("headers", {}),
        "properties": properties | changes.pop("properties", {}),
        **changes,
    }


RUBBISH = [
    "garbage", "", "null", "[]", "5", '"text"', "{}", "[" * 200_000, b"\xff\xfe",
    json.dumps(message(properties={"body_encoding": "zip"})),
    json.dumps(message(properties={"delivery_tag": None})),
    json.dumps({**message(), "properties": []}),
    json.dumps(message(headers={"id": {"a": 1}})),
    json.dumps({**message(), "headers": 7}),
    json.dumps({**message(), "body": 7}),
]  # fmt: skip


def test_celery_knows_no_setting_but_its_own(settings: Any) -> None:
    """It would show all of Django's to whoever asks, and mask only some."""
    told = app.conf.humanize(with_defaults=True, censored=False)
    assert "hosts.tasks.sweep" in told
    for name in ("SECRET_KEY", "DATABASES", "SOCIALACCOUNT_PROVIDERS"):
        assert str(getattr(settings, name)) not in told
        assert name not in app.conf


def beats(portal: Grown) -> Any:
    (row,) = portal.rows("select max(at) from hosts_heartbeat where part = 'worker'")
    return row[0]


@pytest.mark.slow
def test_a_worker_tells_nothing_and_outlives_every_message(parts: Grown) -> None:
    parts.manage("prepare")
    with redis.Redis.from_url(parts.redis_url) as broker:  # as if a worker had been lost with it
        broker.hset("unacked", "t9", "garbage")
        broker.zadd("unacked_index", {"t9": 1})
    worker = parts.add_worker()
    assert worker.process is not None
    until("the worker lives", lambda: beats(parts))
    stranger = Celery(broker=parts.redis_url)
    asked = stranger.control.inspect(timeout=2)
    assert asked.ping() is None
    assert asked.conf() is None
    stranger.control.broadcast("cancel_consumer", {"queue": "hosts"})
    stranger.control.shutdown()
    with redis.Redis.from_url(parts.redis_url) as broker:
        for text in RUBBISH:
            for queue in QUEUES:
                broker.lpush(queue, text)
        for channel in ("/0.celeryev/worker.heartbeat", "/0.celery.pidbox"):
            for text in RUBBISH:
                broker.publish(channel, text)
        before = beats(parts)
        until("all is taken away", lambda: not any(broker.llen(queue) for queue in QUEUES))
        broker.lpush("hosts", json.dumps(message()))
        until("the worker works on", lambda: beats(parts) > before)
    assert worker.process.poll() is None
    assert "cannot be read, and is left out" in worker.log.read_text()


def most_memory(pid: int) -> int:
    """The most that the process ever held, in MB."""
    (kilobytes,) = re.findall(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) // 1024


@pytest.mark.slow
def test_no_message_takes_more_memory_than_it_is_long(parts: Grown) -> None:
    parts.manage("prepare")
    worker = parts.add_worker()
    assert worker.process is not None
    until("the worker lives", lambda: beats(parts))
    usual = most_memory(worker.process.pid)
    packed = bz2.compress(b"[[], {}, {}" + b" " * 200_000_000 + b"]")
    assert len(packed) < 5_000
    text = b64encode(packed).decode()
    lists = "[" + ",".join(["[]"] * 3_000_000) + "]"  # 9 MB, which would be 200 MB of lists
    with redis.Redis.from_url(parts.redis_url) as broker:
        broker.lpush("quick", json.dumps(message(body=text, headers={"compression": "bzip2"})))
        type_ = {"compression": "application/x-bz2"}
        broker.lpush("quick", json.dumps(message(body=text, headers=type_)))
        broker.lpush("quick", json.dumps({**message(), "more": json.loads(lists)}))
        before = beats(parts)
        until("all is taken away", lambda: not broker.llen("quick"))
        broker.lpush("quick", json.dumps(message()))
        until("the worker works on", lambda: beats(parts) > before)
    assert most_memory(worker.process.pid) < usual + 90


@pytest.mark.slow
def test_a_worker_keeps_nothing_for_later(parts: Grown) -> None:
    parts.manage("prepare")
    worker = parts.add_worker()
    assert worker.process is not None
    until("the worker lives", lambda: beats(parts))
    before, later = beats(parts), "2099-01-01T00:00:00+00:00"
    first = {"id": "1", "task": "hosts.tasks.sweep", "args": [], "kwargs": {}, "eta": later}
    older = {**message(), "body": b64encode(json.dumps(first).encode()).decode(), "headers": {}}
    with redis.Redis.from_url(parts.redis_url) as broker:
        for late in (message(headers={"eta": later}), older):
            for _ in range(50):
                broker.lpush("quick", json.dumps(late))
        until("all is taken away", lambda: not broker.llen("quick"))
        until("and done with", lambda: not broker.hlen("unacked"))
        until("the worker works on", lambda: beats(parts) > before)


@pytest.mark.slow
def test_no_part_ends_by_a_queue_that_is_something_else(parts: Grown) -> None:
    parts.start(workers=1)
    (worker,), (ticker,) = parts.workers, parts.tickers
    until("the portal is ready", lambda: parts.health("/readyz") == 200)
    with redis.Redis.from_url(parts.redis_url) as broker:
        names = [*QUEUES, *broker.keys("_kombu.binding.*")]
        for name in names:
            broker.delete(name)
            broker.set(name, "something else")
        until("the worker has met it", lambda: "ResponseError" in worker.log.read_text())
        until("the ticker has met it", lambda: "wrong kind of value" in ticker.log.read_text())
        until("that shows", lambda: parts.health("/readyz") == 503)
        for name in names:
            broker.delete(name)
    before = beats(parts)
    until("the worker works on", lambda: beats(parts) > before)
    until("the portal is ready", lambda: parts.health("/readyz") == 200)
    assert all(part.process and part.process.poll() is None for part in (worker, ticker))
