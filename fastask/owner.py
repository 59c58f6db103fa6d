"""One asyncio task that enters a lifespan, holds it and leaves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from types import TracebackType
from typing import Any

from fastask.brokers.lifecycle import inside_lifespan

__all__ = ["LifespanOwner"]

_NOTICE = 0.1  # seconds


class LifespanOwner(AbstractAsyncContextManager[Any]):
    """Holds an async context manager open in one asyncio task of its own.

    anyio's cancel scopes, and so task groups, must be left in the task that entered them;
    Taskiq's startup and shutdown run in different ones (taskiq 0.13).

    Args:
        context: what to enter and to leave.
        *holders: whose lifespan it is; its code finds them in `inside_lifespan`.
    """

    def __init__(self, context: AbstractAsyncContextManager[Any], *holders: object) -> None:
        self._context = context
        self._holders = (self, *holders)
        self._leave = asyncio.Event()
        self._entered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self._background: list[asyncio.Task[Any]] = []
        self._crashed: Callable[[BaseException], None] | None = None
        self._is_told = False

    async def __aenter__(self) -> Any:
        return await self.enter()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.leave()

    async def enter(self) -> Any:
        """Enter the context.

        Returns:
            What it yields.

        Raises:
            BaseException: what its startup raises.
        """
        self._task = asyncio.create_task(self._hold(), name="fastask lifespan")
        with self._collecting():
            try:
                await asyncio.wait([self._task, self._entered], return_when="FIRST_COMPLETED")
            except asyncio.CancelledError as cancelled:
                if (error := await _cancelled(self._task)) is not None:
                    cancelled.add_note(f"Then the startup raised {error!r}")
                raise
        if not self._entered.done():
            await self._task  # raises what the startup raised
        return self._entered.result()

    def watch(self, crashed: Callable[[BaseException], None]) -> None:
        """Have it told when the lifespan, or a task that its startup began, dies by itself.

        A lifespan that has been told of does not raise its error again when it is left.

        Args:
            crashed: takes the error.
        """
        self._crashed = crashed
        for task in filter(None, [self._task, *self._background]):
            task.add_done_callback(self._ended)
        self._background.clear()

    async def leave(self) -> None:
        """Leave the context.

        Raises:
            BaseException: what its shutdown raises.
        """
        if self._task is None:
            return
        self._leave.set()
        if not self._is_told:
            await self._task

    async def _hold(self) -> None:
        inside_lifespan.set((*inside_lifespan.get(), *self._holders))
        try:
            async with self._context as yielded:
                self._entered.set_result(yielded)
                await self._leave.wait()
        except SystemExit as error:
            # It would not reach whoever waits here, but stop the event loop at once.
            raise RuntimeError(f"the lifespan called sys.exit({error.code!r})") from error

    @contextmanager
    def _collecting(self) -> Iterator[None]:
        """Note the tasks that the startup begins: those too that end before it does."""
        loop = asyncio.get_running_loop()
        former = loop.get_task_factory()

        def begin(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
            make: Any = asyncio.Task if former is None else former
            arguments = (work,) if former is None else (loop, work)
            task = make(*arguments, **(options if former else {"loop": loop, **options}))
            if not self._entered.done() and self in inside_lifespan.get():
                self._background.append(task)
            return task

        loop.set_task_factory(begin)
        try:
            yield
        finally:
            if loop.get_task_factory() is begin:
                loop.set_task_factory(former)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if task is self._task:
            self._look_at(task)
        else:  # later, so that those who wait for the task have seen its error before
            task.get_loop().call_later(_NOTICE, self._look_at, task)

    def _look_at(self, task: asyncio.Task[Any]) -> None:
        if self._leave.is_set() or self._crashed is None:
            return
        if task is self._task:
            self._is_told = True
            reason = "was cancelled" if task.cancelled() else "ended by itself"
            error = None if task.cancelled() else task.exception()
            self._crashed(error or RuntimeError(f"the lifespan {reason}"))
            return
        # asyncio's own mark of an error that nobody has looked at; a task group, or a
        # library that watches its tasks, takes it away (private, CPython 3.8 to 3.14).
        is_unseen = getattr(task, "_log_traceback", True)
        if is_unseen and not task.cancelled() and (error := task.exception()) is not None:
            self._crashed(error)


async def _cancelled(task: asyncio.Task[Any]) -> BaseException | None:
    """Cancel a task, again whenever this one is, and give what it raised instead."""
    while not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return None if task.cancelled() else task.exception()
