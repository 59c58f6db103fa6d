"""Contexts that are left in reverse order, each once, whatever fails on the way."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self, TypeVar

from fastask.masking import in_full, masked

__all__ = ["Unwinding"]

logger: logging.Logger = logging.getLogger("fastask.lifespan")

T = TypeVar("T")


class Unwinding:
    """A stack of async context managers, as `AsyncExitStack`, that keeps the first error.

    Each context sees the error that is under way, as in nested `async with` blocks. What is
    raised at the end is the first error; those that follow are logged, and noted on it. A
    context that raises a new error *from* the one it was given has translated it.
    """

    def __init__(self) -> None:
        self._entered: list[tuple[str, AbstractAsyncContextManager[Any]]] = []

    async def enter(self, step: str, context: AbstractAsyncContextManager[T]) -> T:
        """Enter a context, to be left when this one is.

        Args:
            step: what leaving it is called in messages, such as `"shutdown of the broker"`.
            context: the context.

        Returns:
            What it yields.

        Raises:
            BaseException: what entering it raises; it is not left then.
        """
        value = await context.__aenter__()
        self._entered.append((step, context))
        return value

    def moved(self) -> Unwinding:
        """Give what is entered to another one, and leave nothing here."""
        other = Unwinding()
        other._entered, self._entered = self._entered, []
        return other

    async def aclose(self) -> None:
        """Leave everything.

        Raises:
            BaseException: the first error.
        """
        await self.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        first = error
        while self._entered:
            first = await _left(*self._entered.pop(), first)
        if first is not None and first is not error:
            raise first
        return first is None


async def _left(
    step: str, context: AbstractAsyncContextManager[Any], error: BaseException | None
) -> BaseException | None:
    """Leave one context; give the error that is under way after that."""
    try:
        if error is None:
            swallowed = await context.__aexit__(None, None, None)
        else:
            swallowed = await context.__aexit__(type(error), error, error.__traceback__)
    except BaseException as later:  # noqa: BLE001 - raised by the caller, or noted
        if error is None or later is error or later.__cause__ is error:
            return later
        told = f"{type(later).__name__}: {later}" if str(later) else type(later).__name__
        error.add_note(masked(f"Then the {step} raised {told}"))
        logged = "the %s raised after another error:\n%s"
        logger.error(logged, step, in_full(later))  # noqa: TRY400 - the traceback is masked
        return error
    return None if swallowed else error
