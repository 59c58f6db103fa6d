"""Programs that the tests run in processes, and the queue they work on, seen from outside."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

from redis import Redis

from tests.integration.processes import Process, wait_until, worker

STREAM, LIST = "stream", "list"
HEAD = '''
import asyncio
import os
import time
from contextlib import asynccontextmanager
from pathlib import Path
from fastapi import Depends, FastAPI
from taskiq.serializers import JSONSerializer
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker
from fastask import FastTask

def say(text):
    """One write for each line, so that lines of threads and processes are never mixed."""
    os.write(1, f"{text}\\n".encode())

def redis_broker(stream=RedisStreamBroker):
    url, queue = os.environ["REDIS_URL"], os.environ["QUEUE"]
    if os.environ.get("BROKER") == "list":  # without a timeout, which would end an idle one
        broker = ListQueueBroker(url, queue_name=queue, socket_timeout=None)
    else:
        broker = stream(url, queue_name=queue, consumer_id="0")
    results = RedisAsyncResultBackend(url, serializer=JSONSerializer())
    return broker.with_result_backend(results)
'''


def written(folder: Path, *parts: str, name: str = "program") -> Path:
    """Write a module of several parts; at once, so that who watches it sees one change."""
    text = HEAD + "\n".join(dedent(part) for part in parts)
    draft = folder.parent / f"{folder.name}-draft-{name}.py"
    draft.write_text(text)
    draft.replace(folder / f"{name}.py")
    return folder


class Queue:
    """What is sent to workers and what comes of it."""

    def __init__(self, redis: "Redis", url: str, name: str, kind: str) -> None:
        self.redis = redis
        self.url = url
        self.name = name
        self.kind = kind
        self.extra: dict[str, str] = {}  # for the environment

    def worker(self, folder: Path, *options: str, program: str = "program") -> Process:
        """`taskiq worker` of a program, for this queue; one process unless told otherwise."""
        options = options if "--workers" in options else ("--workers", "1", *options)
        return worker(f"{program}:broker", *options, cwd=folder, **self.environment)

    @property
    def environment(self) -> dict[str, str]:
        return {"REDIS_URL": self.url, "QUEUE": self.name, "BROKER": self.kind, **self.extra}

    def send(self, task: str, *args: Any) -> str:
        """Send a task by its name alone, and give its id."""
        message = {"task_id": uuid.uuid4().hex, "task_name": task, "labels": {}}
        data = json.dumps({**message, "args": args, "kwargs": {}})
        if self.kind == LIST:
            self.redis.lpush(self.name, data)
        else:
            self.redis.xadd(self.name, {"data": data})
        return message["task_id"]  # type: ignore[return-value]

    def waiting(self) -> int:
        """Count the messages that no worker has taken."""
        redis: Any = self.redis
        if self.kind == LIST:
            return int(redis.llen(self.name))
        [group] = redis.xinfo_groups(self.name)
        after = group["last-delivered-id"].decode()
        return len(redis.xrange(self.name, min=f"({after}"))

    def pending(self) -> int:
        """Count the messages that were taken and are not acknowledged."""
        redis: Any = self.redis
        return 0 if self.kind == LIST else int(redis.xpending(self.name, "taskiq")["pending"])

    def is_read(self) -> bool:
        """Whether anybody waits for messages, of this queue or another one."""
        redis: Any = self.redis
        return bool(redis.info("clients")["blocked_clients"])

    def result(self, task_id: str) -> dict[str, Any] | None:
        """Give a result as it is stored, if it is."""
        redis: Any = self.redis
        stored = redis.get(task_id)
        found: dict[str, Any] | None = stored and json.loads(stored)
        return found

    def outcome(self, task_id: str) -> dict[str, Any]:
        """Wait for a result."""
        found = wait_until(lambda: self.result(task_id), f"{task_id} has no result")
        assert found is not None
        return found


@contextmanager
def opened(url: str, name: str, kind: str = STREAM) -> Iterator[Queue]:
    """Connect to a queue."""
    with Redis.from_url(url) as redis:
        yield Queue(redis, url, name, kind)
