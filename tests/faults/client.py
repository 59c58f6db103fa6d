"""A program that sends tasks, as a web process does: told what to do line by line.

It lives through outages of servers, and reports what each step gave and how long it took.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any

from fastapi import FastAPI
from taskiq.kicker import AsyncKicker

from fastask import FastTask
from tests.faults.tasks import declare

_AT_ONCE = 50  # messages that are on their way


class Sender:
    """Sends to one URL.

    Args:
        url: the broker's.
        results: where results are kept, if not there.
    """

    def __init__(self, url: str, results: str | None) -> None:
        self._app = FastAPI()
        self._ft = FastTask(self._app, url, results=results)
        self._tasks = declare(self._ft)
        self._app.router.lifespan_context = self._ft.lifespan()
        self._open = AsyncExitStack()

    async def open(self) -> None:
        await self._open.enter_async_context(self._app.router.lifespan_context(self._app))

    async def close(self) -> None:
        await self._open.aclose()

    async def send(
        self,
        task: str,
        calls: list[list[Any]],
        once: str | None = None,
        labels: dict[str, Any] | None = None,
    ) -> list[str]:
        """Send a task once for each list of arguments, and give the ids.

        Args:
            task: its name; there need be none of it here.
            calls: the arguments.
            once: the idempotency key.
            labels: of the messages.
        """
        labels = labels or {}
        free = asyncio.Semaphore(_AT_ONCE)

        async def sent(args: list[Any]) -> str:
            kicker: Any = AsyncKicker(task, self._ft.broker, labels)
            if task in self._tasks:
                more = {} if once is None else {"idempotency_key": once}
                kicker = self._tasks[task].kicker(**more).with_labels(**labels)
            async with free:
                done = await kicker.kiq(*args)
            return str(done.task_id)

        return await asyncio.gather(*(sent(args) for args in calls))

    async def send_big(self, task: str, keys: list[str], size: int) -> list[str]:
        """Send a task with an argument of so many characters, once for each key."""
        return await self.send(task, [[key, "x" * size] for key in keys])

    async def result(self, task: str, task_id: str, timeout: float) -> Any:
        """Wait for a result."""
        return await self._tasks[task].enqueued(task_id).result(timeout=timeout)


class Client:
    """Does what the lines of its input say, several at once."""

    def __init__(self) -> None:
        self._senders: dict[str, Sender] = {}
        self._doing: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Read lines until there are none."""
        while line := await asyncio.to_thread(sys.stdin.readline):
            task = asyncio.create_task(self._answer(json.loads(line)))
            self._doing.add(task)
            task.add_done_callback(self._doing.discard)

    async def _answer(self, asked: dict[str, Any]) -> None:
        number = asked.pop("number")
        start = monotonic()
        answer: dict[str, Any] = {"value": None, "error": None}
        try:
            answer["value"] = await self._done(**asked)
        except Exception as error:
            answer["error"] = f"{type(error).__name__}: {error}"
        answer |= {"number": number, "seconds": monotonic() - start}
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()

    async def _done(self, do: str, url: str, results: str | None = None, **more: Any) -> Any:
        if do == "open":
            # It has no place here before it is up, so that it can be opened again.
            sender = Sender(url, results)
            await sender.open()
            self._senders[url] = sender
            return None
        if do == "close":
            return await self._senders.pop(url).close()
        return await getattr(self._senders[url], do)(**more)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(Client().run())
