"""Contexts that are left in reverse order, and the one error that is told."""

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import pytest

from fastask.unwinding import Unwinding


class Steps:
    """Contexts that note what happens to them, and fail where they are told to."""

    def __init__(self, **fails: BaseException) -> None:
        self.events: list[str] = []
        self.fails = fails

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[str]:
        self.note(f"{name}_up")
        try:
            yield name
        except LookupError as error:
            self.events.append(f"{name} saw {error}")
            raise
        finally:
            self.note(f"{name}_down")

    def note(self, event: str) -> None:
        self.events.append(event)
        if event in self.fails:
            raise self.fails[event]


async def run(steps: Steps, body: BaseException | None = None) -> None:
    async with Unwinding() as unwinding:
        for name in ("a", "b", "c"):
            assert await unwinding.enter(f"end of {name}", steps.step(name)) == name
        if body is not None:
            raise body


async def test_reverse_order() -> None:
    """Without an error everything is left, the last one first."""
    steps = Steps()
    await run(steps)
    assert steps.events == ["a_up", "b_up", "c_up", "c_down", "b_down", "a_down"]


async def test_what_was_not_entered_is_not_left() -> None:
    """A context that fails while it is entered is not left; those before it are."""
    steps = Steps(b_up=LookupError("b"))
    with pytest.raises(LookupError, match="b"):
        await run(steps)
    assert steps.events == ["a_up", "b_up", "a saw b", "a_down"]


async def test_first_error_is_raised_and_the_others_are_noted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each context sees the first error; what they raise themselves is noted and logged."""
    steps = Steps(c_down=ValueError("late"), a_down=OSError())
    with pytest.raises(LookupError) as caught:
        await run(steps, LookupError("body"))
    assert caught.value.args == ("body",)
    assert caught.value.__notes__ == [
        "Then the end of c raised ValueError: late",
        "Then the end of a raised OSError",
    ]
    assert [event for event in steps.events if " saw " in event] == [
        "c saw body",
        "b saw body",
        "a saw body",
    ]
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


async def test_error_of_an_end_is_the_first_one_where_nothing_failed_before() -> None:
    """Those that are left later see it."""
    steps = Steps(b_down=LookupError("b"), a_down=OSError("a"))
    with pytest.raises(LookupError) as caught:
        await run(steps)
    assert caught.value.__notes__ == ["Then the end of a raised OSError: a"]
    assert steps.events[-2:] == ["a saw b", "a_down"]


@asynccontextmanager
async def translating() -> AsyncIterator[None]:
    try:
        yield
    except LookupError as error:
        raise RuntimeError("translated") from error


@asynccontextmanager
async def swallowing() -> AsyncIterator[None]:
    with suppress(LookupError):
        yield


async def test_error_that_is_raised_from_the_first_one_takes_its_place() -> None:
    """`raise ... from error` says that it tells the same thing in other words."""

    async def cycle() -> None:
        async with Unwinding() as unwinding:
            await unwinding.enter("end", translating())
            raise LookupError("body")

    with pytest.raises(RuntimeError, match="translated"):
        await cycle()


async def test_error_that_is_swallowed() -> None:
    """A context may end an error, as in `async with`; later ones do not see it."""
    steps = Steps()
    async with Unwinding() as unwinding:
        await unwinding.enter("end of a", steps.step("a"))
        await unwinding.enter("end", swallowing())
        raise LookupError("body")
    assert steps.events == ["a_up", "a_down"]


@pytest.mark.parametrize("close", [True, False])
async def test_moved(close: bool) -> None:
    """What was moved is left by its new owner, and by nobody else."""
    steps = Steps()
    async with Unwinding() as unwinding:
        context: AbstractAsyncContextManager[str] = steps.step("a")
        await unwinding.enter("end of a", context)
        other = unwinding.moved()
    assert steps.events == ["a_up"]
    if close:
        await other.aclose()
        await other.aclose()
        assert steps.events == ["a_up", "a_down"]
    else:
        await context.__aexit__(None, None, None)
