"""Running one function as a route and as a task."""

from __future__ import annotations

import asyncio
import json
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    MutableMapping,
    Sequence,
)
from dataclasses import dataclass, field
from typing import Any

from fastapi import Depends, FastAPI, Request, params
from starlette.exceptions import HTTPException

from fastask import FastTask, Task
from tests.parity.build import Built
from tests.parity.journal import Journal, Observed, Outcome, described

__all__ = ["Answer", "Programs", "answers", "call_route", "same_answer"]


@dataclass
class Answer:
    """How a function ended, and what its dependencies had noted by then."""

    value: Any = None
    error: tuple[str, str] | None = None
    log: list[Any] = field(default_factory=list)


async def answers(
    function: Callable[..., Any],
    log: list[Any] | None = None,
    *,
    overrides: Mapping[Any, Any] | None = None,
    dependencies: Sequence[params.Depends] = (),
) -> tuple[Answer, Answer]:
    """Call a function as a route and as a task: here and, with the same answer, as a message.

    Args:
        function: the endpoint and the task.
        log: the list that its dependencies write to.
        overrides: what overrides dependencies of the app.
        dependencies: what both are declared with.
    """
    log = [] if log is None else log
    app = FastAPI(openapi_url=None)
    app.dependency_overrides.update(overrides or {})
    app.add_exception_handler(HTTPException, _raise_again)
    ft = FastTask(app)

    async def route() -> Any:
        app.post("/", dependencies=dependencies)(function)
        status, body = await call_route(app)
        return body if status == 200 else (status, body)

    task: Task[[], Any] = ft.task("tried", dependencies=dependencies)(function)

    async def message() -> Any:
        async with ft.testing():
            result = await (await task.kiq()).get_result()
            return result.raise_for_error().return_value

    as_route, as_task, as_message = [await _answer(way, log) for way in (route, task.run, message)]
    assert as_message == as_task, f"{as_message} as a message, {as_task} here"
    return as_route, as_task


async def same_answer(function: Callable[..., Any], *args: Any, **options: Any) -> Answer:
    """Call a function as `answers` does; all ways must give the same."""
    as_route, as_task = await answers(function, *args, **options)
    assert as_task == as_route, f"{as_task} as a task, {as_route} as a route"
    return as_task


async def _answer(way: Callable[[], Awaitable[Any]], log: list[Any]) -> Answer:
    log.clear()
    try:
        value = await way()
    except asyncio.CancelledError:
        return Answer(error=("CancelledError", ""), log=list(log))  # anyio's names the scope
    except BaseException as error:
        return Answer(error=described(error), log=list(log))
    return Answer(value, log=list(log))


async def call_route(app: FastAPI, path: str = "/") -> Any:
    """Send an empty POST to an app, in this asyncio task; give the status and the JSON body."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 1),
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "state": {},
    }
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body)


async def _raise_again(request: Request, error: Exception) -> Any:
    raise error


class Programs:
    """One app with a tree as its route and as its task, from the same functions."""

    def __init__(self, built: Built) -> None:
        self.app = FastAPI(openapi_url=None)
        self.app.dependency_overrides = dict(built.overrides)
        self.ft = FastTask(self.app)
        self.journal = built.journal
        # The errors themselves are compared, not the responses made of them.
        self.app.add_exception_handler(HTTPException, _raise_again)
        probe = Depends(_probe(built.journal), scope="function")
        self.app.post("/", dependencies=[probe, *built.before])(built.endpoint)
        self.task: Task[[], Any] = self.ft.task("tree", dependencies=built.before)(built.endpoint)

    async def as_route(self) -> Observed:
        """Call the route."""
        self.journal.restart()
        try:
            status, body = await call_route(self.app)
        except BaseException as error:
            return self.journal.observed(_raised(error), error.__cause__)
        assert status == 200, body
        return self.journal.observed(("returned", body))

    async def as_task(self) -> Observed:
        """Run the task here."""
        self.journal.restart()
        try:
            returned = await self.task.run()
        except BaseException as error:
            return self.journal.observed(_raised(error))
        return self.journal.observed(("returned", returned))

    async def as_message(self) -> Observed:
        """Send the task through the broker; call it within `ft.testing()`."""
        self.journal.restart()
        sent = await self.task.kiq()
        result = await sent.get_result()
        if result.error is not None:
            return self.journal.observed(_raised(result.error))
        return self.journal.observed(("returned", result.return_value))


def _probe(journal: Journal) -> Any:
    """A dependency that is closed after all others of scope "function"; it only looks."""

    async def probe() -> AsyncIterator[None]:
        try:
            yield
        except BaseException as error:
            journal.closed_early(error)
            raise
        else:
            journal.closed_early(None)

    return probe


def _raised(error: BaseException) -> Outcome:
    return ("raised", *described(error))
