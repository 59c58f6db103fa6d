"""`app.dependency_overrides` in tasks: live, for every style, at no cost while empty."""

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Header
from taskiq import TaskiqDepends, TaskiqMessage

from fastask import FastTask
from fastask.plan import steps
from tests.behaviour.receiving import ReceivingBroker


async def original() -> str:
    return "original"


async def above(value: str = Depends(original, use_cache=False)) -> str:
    return f"above {value}"


async def replacement() -> str:
    return "replacement"


async def test_change_between_two_messages_takes_effect() -> None:
    """Overrides hold for the next message, beneath uncached dependencies too."""
    broker, app = ReceivingBroker(), FastAPI()
    ft = FastTask(app, broker)

    @ft.task("over:ridden")
    async def overridden(
        a: str = Depends(original),
        b: str = TaskiqDepends(original, use_cache=False),
        c: str = ft.depends(above, use_cache=False),
        *,
        d: Annotated[str, Depends(above)] = "",
    ) -> list[str]:
        return [a, b, c, d]

    before = ["original", "original", "above original", "above original"]
    after = [value.replace("original", "replacement") for value in before]
    assert (await broker.ran(overridden)).return_value == before
    app.dependency_overrides[original] = replacement
    assert (await broker.ran(overridden)).return_value == after
    app.dependency_overrides.clear()
    assert (await broker.ran(overridden)).return_value == before


async def test_compiled_once_while_overrides_stay_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A plan is made for each set of overrides, not for each message."""
    made: list[Any] = []
    flatten = steps.flatten

    def counted(*args: Any) -> Any:
        made.append(args)
        return flatten(*args)

    monkeypatch.setattr("fastask.definition.flatten", counted)
    broker, app = ReceivingBroker(), FastAPI()
    ft = FastTask(app, broker)

    @ft.task("compiled:once")
    async def compiled_once(value: str = Depends(original)) -> str:
        return value

    for _ in range(3):
        await broker.ran(compiled_once)
    assert len(made) == 1
    app.dependency_overrides[original] = replacement
    for _ in range(3):
        await broker.ran(compiled_once)
    assert len(made) == 2
    app.dependency_overrides[original] = lambda: "another"
    assert (await broker.ran(compiled_once)).return_value == "another"
    assert len(made) == 3


async def test_override_is_a_remedy_for_what_no_task_can_be_given() -> None:
    """A dependency on a required header works in a task once it is overridden."""

    def token(x_token: str = Header()) -> str:
        return x_token

    broker, app = ReceivingBroker(), FastAPI()
    ft = FastTask(app, broker)

    @ft.task("needs:token")
    async def needs_token(value: str = Depends(token)) -> str:
        return value

    result = await broker.ran(needs_token)
    assert "needs:token -> value -> token -> x_token: Header() without a default" in str(
        result.error
    )
    app.dependency_overrides[token] = lambda: "from an override"
    assert (await broker.ran(needs_token)).return_value == "from an override"


async def test_bad_override_fails_the_task_and_names_the_chain() -> None:
    """An override that no task can be given fails its tasks, and nothing else."""

    def bad(q: int) -> int:
        return q

    broker, app = ReceivingBroker(), FastAPI()
    ft = FastTask(app, broker)

    @ft.task("badly:overridden")
    async def badly(value: str = Depends(original)) -> str:
        return value

    app.dependency_overrides[original] = bad
    result = await broker.ran(badly)
    assert "badly:overridden -> value -> original -> bad (override) -> q" in str(result.error)
    assert broker.acknowledged == 1


async def test_overrides_of_taskiqs_broker_hold_too() -> None:
    """Tests written for Taskiq keep working; the app's overrides come first."""
    broker, app = ReceivingBroker(), FastAPI()
    ft = FastTask(app, broker)

    @ft.task("doubly:overridden")
    async def doubly(value: str = TaskiqDepends(original)) -> str:
        return value

    broker.dependency_overrides[original] = lambda: "the broker's"
    assert (await broker.ran(doubly)).return_value == "the broker's"
    app.dependency_overrides[original] = lambda: "the app's"
    assert (await broker.ran(doubly)).return_value == "the app's"


async def test_task_is_written_out_once_for_each_state_of_the_broker() -> None:
    """Overrides that come and go write nothing anew; an added dependency context does."""

    class Clock:
        def __init__(self, zone: str) -> None:
            self.zone = zone

    broker, app = ReceivingBroker(), FastAPI()
    ft = FastTask(app, broker)

    @ft.task("written:out")
    async def written_out(n: int, value: str = Depends(original)) -> str:
        return f"{n} {value}"

    first = written_out.original_func
    assert (await broker.ran(written_out, 1)).return_value == "1 original"
    second = written_out.original_func
    assert second is not first
    app.dependency_overrides[original] = replacement
    assert (await broker.ran(written_out, 2)).return_value == "2 replacement"
    app.dependency_overrides.clear()
    assert (await broker.ran(written_out, "3")).return_value == "3 original"
    assert written_out.original_func is second
    broker.add_dependency_context({Clock: Clock("UTC")})
    assert (await broker.ran(written_out, 4)).return_value == "4 original"
    third = written_out.original_func
    assert third is not second
    assert (await broker.ran(written_out, 5)).return_value == "5 original"
    assert written_out.original_func is third
    assert third.__name__ == "written_out"


async def test_wrong_message_fails_a_task_that_is_written_out() -> None:
    """The short way checks as the long one does: arguments, forged ones, results."""
    broker = ReceivingBroker()
    ft = FastTask(FastAPI(), broker)

    @ft.task("checked:always")
    async def checked(n: int, value: str = Depends(original)) -> int:
        return n if n < 3 else "no number"  # type: ignore[return-value]

    assert (await broker.ran(checked, 1)).return_value == 1
    for args, kwargs, words in (
        (["x"], {}, "n: Input should be a valid integer"),
        ([1], {"value": "forged"}, "value: is injected by the worker"),
        ([], {}, "n: Missing required argument"),
        ([3], {}, "returned what its annotation does not allow"),
    ):
        message = TaskiqMessage(
            task_id=words, task_name="checked:always", labels={}, args=args, kwargs=kwargs
        )
        await broker.kick(broker.formatter.dumps(message))
        result = await broker.deliver()
        assert words in str(result.error)
    assert broker.acknowledged == 5


async def test_overrides_in_a_circle_are_told() -> None:
    """An override that depends on what it overrides fails the task with one sentence."""

    async def around(value: str = Depends(original)) -> str:
        return value

    broker, app = ReceivingBroker(), FastAPI()
    ft = FastTask(app, broker)

    @ft.task("in:circles")
    async def in_circles(value: str = Depends(original)) -> str:
        return value

    app.dependency_overrides[original] = around
    result = await broker.ran(in_circles)
    assert "its overrides go round in a circle" in str(result.error)
