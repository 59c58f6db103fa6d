"""`kiq`: what is refused before anything is sent, and what is sent."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import pytest
from fastapi import Depends, FastAPI, Query, Request
from pydantic import AfterValidator, BaseModel, Field
from taskiq import AsyncTaskiqTask, Context, InMemoryBroker, TaskiqDepends
from taskiq.kicker import AsyncKicker

from fastask import INJECTED, FastTask, InvalidArgumentsError
from tests.unit.doubles import (
    RecordingBroker,
    RecordingSource,
    one_sentence,
    program,
)

SECRET = "hunter2"


def get_pool() -> str:
    return "pool"


Pool = Annotated[str, Depends(get_pool)]
ft, _ = program()


class Card(BaseModel):
    number: int
    owner: str


@ft.task("pay")
async def pay(amount: int, card: Card, note: str = "none", *, retries: int = 1) -> None: ...


@ft.task("inject")
async def inject(
    n: int,
    pool: str = ft.depends(get_pool),
    request: Request = TaskiqDepends(),
    *,
    named: Pool = INJECTED,
    context: Context = TaskiqDepends(),
) -> None: ...


@ft.task("first")
async def injected_first(request: Request, pool: Pool, n: int) -> int:
    return n


@ft.task("many")
async def many(*numbers: int, **names: int) -> None: ...


@pytest.fixture(autouse=True)
def broker(monkeypatch: pytest.MonkeyPatch) -> RecordingBroker:
    """The broker of the tasks above, with nothing sent yet."""
    recording: Any = ft.broker
    monkeypatch.setattr(recording, "sent", [])
    assert isinstance(recording, RecordingBroker)
    return recording


CARD = {"number": 1, "owner": "ann"}


async def refused(task: Any, *args: Any, **kwargs: Any) -> InvalidArgumentsError:
    """What a call is refused with; nothing was sent or scheduled."""
    with pytest.raises(InvalidArgumentsError) as caught:
        await task.kiq(*args, **kwargs)
    source = RecordingSource()
    with pytest.raises(InvalidArgumentsError):
        await task.schedule_by_time(source, datetime.now(UTC), *args, **kwargs)
    with pytest.raises(InvalidArgumentsError):
        await task.schedule_by_cron(source, "* * * * *", *args, **kwargs)
    with pytest.raises(InvalidArgumentsError):
        await task.schedule_by_interval(source, 1, *args, **kwargs)
    with pytest.raises(InvalidArgumentsError):
        await task.run(*args, **kwargs)
    assert source.schedules == []
    assert ft.broker.sent == []  # type: ignore[attr-defined]
    assert caught.value.task == task.task_name
    assert one_sentence(caught.value, repr(task.task_name))
    return caught.value


def locations(error: InvalidArgumentsError) -> list[tuple[Any, ...]]:
    return [tuple(one["loc"]) for one in error.errors]


async def test_missing() -> None:
    """A missing argument is named."""
    error = await refused(pay, 1)
    assert locations(error) == [("card",)]
    assert "card: Missing required argument" in str(error)


async def test_all_problems_at_once() -> None:
    """All problems of a call are told, each with its parameter."""
    error = await refused(pay, "many", {"number": "x"}, retries=[])
    assert locations(error) == [
        ("amount",),
        ("card", "number"),
        ("card", "owner"),
        ("retries",),
    ]


async def test_unknown() -> None:
    """An unknown argument is named."""
    error = await refused(pay, 1, CARD, retrys=2)
    assert locations(error) == [("retrys",)]
    assert "retrys: Unexpected keyword argument" in str(error)


async def test_too_many() -> None:
    """An argument too many is refused, also where keyword-only ones follow."""
    error = await refused(pay, 1, CARD, "note", 3)
    assert "Unexpected positional argument" in str(error)


async def test_doubled() -> None:
    """An argument given twice is named."""
    error = await refused(pay, 1, CARD, amount=2)
    assert locations(error) == [("amount",)]
    assert "multiple values" in str(error)


async def test_wrong_type() -> None:
    """The error says the parameter, the type that was expected and the one it got."""
    error = await refused(pay, ["x"], CARD)
    assert error.errors[0]["got"] == "list"
    assert one_sentence(error, "task 'pay'", "amount", "valid integer", "(got list)")


async def test_wrong_type_in_variadic_parameters() -> None:
    """What is wrong among `*args` and `**kwargs` is found, by position or name."""
    error = await refused(many, 1, "x", size="y")
    assert locations(error) == [("numbers", 1), ("size",)]


async def test_handles_have_what_taskiqs_have() -> None:
    """They are made without Taskiq's own `__init__` (taskiq 0.13), which might set more."""
    kicker = pay.kicker()
    theirs: AsyncKicker[Any, Any] = AsyncKicker("pay", ft.broker, {})
    assert vars(theirs).keys() <= vars(kicker).keys()
    sent = await kicker.kiq(1, Card(number=1, owner="ann"))
    handle: AsyncTaskiqTask[Any] = AsyncTaskiqTask(sent.task_id, sent.result_backend)
    assert vars(handle).keys() <= vars(sent).keys()


async def test_no_value_is_told() -> None:
    """No value of the caller's is in the error, in words or as data."""
    error = await refused(pay, SECRET, {"number": SECRET, "owner": [SECRET]}, retries=SECRET)
    assert len(error.errors) == 4
    assert SECRET not in str(error) + repr(error) + repr(error.errors) + repr(error.args)
    assert error.__cause__ is None
    assert error.__suppress_context__


async def test_no_value_is_told_by_a_validator() -> None:
    """A validator's own words are told; its exception is not kept."""

    def check(word: str) -> str:
        raise ValueError("it is too short")

    @ft.task("checked")
    async def checked(word: Annotated[str, AfterValidator(check)]) -> None: ...

    error = await refused(checked, SECRET)
    assert one_sentence(error, "word", "it is too short", "(got str)")
    assert SECRET not in repr(error.errors)
    json.dumps(error.errors)


@pytest.mark.parametrize("name", ["pool", "request", "named", "context"])
async def test_injected(name: str) -> None:
    """Nobody passes an injected parameter."""
    error = await refused(inject, 1, **{name: "forged"})
    assert locations(error) == [(name,)]
    assert one_sentence(error, f"{name}: is injected by the worker and can't be sent")


async def test_injected_by_position() -> None:
    """Nobody passes an injected parameter by its position either."""
    assert locations(await refused(inject, 1, "forged")) == [("pool",)]


async def test_injected_before_the_message() -> None:
    """Where injected parameters come first, what follows them goes by name."""
    assert await injected_first.run(n=5) == 5  # type: ignore[call-arg]
    await refused(injected_first, 5)
    await refused(injected_first, "forged", "forged", 5)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {"a": 1, "b": 2}),
        ((1, 2), {}),
        ((1,), {"b": 2, "c": 3}),
        ((), {"b": 1}),
        ((1, 2), {"b": 3}),
    ],
)
async def test_kinds_of_parameters(args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    """Positional-only and keyword-only parameters are held to, for plain values too."""

    @ft.task(f"kinds {args} {kwargs}")
    async def kinds(a: int, /, *, b: int) -> int:
        return a + b

    assert await kinds.run(1, b=2) == 3
    await refused(kinds, *args, **kwargs)


async def test_union_tag_is_not_told() -> None:
    """The tag of a union, which a caller wrote, is no more told than another value."""

    class Cat(BaseModel):
        kind: Literal["cat"] = "cat"

    class Dog(BaseModel):
        kind: Literal["dog"] = "dog"

    @ft.task("pet")
    async def tagged(pet: Annotated[Cat | Dog, Field(discriminator="kind")]) -> None: ...

    error = await refused(tagged, {"kind": SECRET})
    assert locations(error) == [("pet",)]
    assert SECRET not in str(error) + repr(error.errors)


async def test_injected_into_many() -> None:
    """An injected name does not get in through `**kwargs`."""

    @ft.task("open")
    async def opened(pool: Pool = INJECTED, **names: str) -> None: ...

    assert locations(await refused(opened, pool="forged")) == [("pool",)]


async def test_refused_before_middlewares(broker: RecordingBroker) -> None:
    """A refused call reaches no middleware and no id generator."""
    ids: list[str] = []
    other, recording = program()

    def note() -> str:
        ids.append("id")
        return "id"

    recording.id_generator = note
    task = other.task("checked")(pay.func)
    with pytest.raises(InvalidArgumentsError):
        await task.kiq()
    assert ids == []


async def test_default_in_a_marker(broker: RecordingBroker) -> None:
    """A `Query(5)` on the task itself is a parameter with the default 5."""

    @ft.task("sized")
    async def sized(size: int = Query(5), tag: Annotated[str, Query()] = "none") -> Any:
        return size, tag

    await sized.kiq()
    assert broker.payload["kwargs"] == {}
    assert await sized.run() == (5, "none")
    assert await sized.run(7, tag="a") == (7, "a")
    with pytest.raises(InvalidArgumentsError, match="size"):
        await sized.run(size="x")  # type: ignore[arg-type]


async def test_default_factory_in_a_marker() -> None:
    """A factory in a marker is called for every run that leaves the argument out."""

    @ft.task("tagged")
    async def tagged(tags: Annotated[list[str], Query(default_factory=list)]) -> list[str]:
        return tags

    run: Any = tagged.run
    assert await run() == []
    assert await run() is not await run()
    assert await run(["a"]) == ["a"]


async def test_alias_in_a_marker() -> None:
    """An alias is for HTTP; a caller writes the parameter's own name."""

    @ft.task("aliased")
    async def aliased(size: Annotated[int, Query(alias="page-size")] = 5) -> int:
        return size

    assert await aliased.run() == 5
    assert await aliased.run(6) == 6
    assert await aliased.run(size=7) == 7


async def test_constraints_in_a_marker() -> None:
    """What a marker demands of its value holds for messages too."""

    @ft.task("bounded")
    async def bounded(size: Annotated[int, Query(le=10)] = 5) -> int:
        return size

    assert await bounded.run() == 5
    assert await bounded.run(10) == 10
    assert locations(await refused(bounded, 11)) == [("size",)]


async def test_only_what_the_caller_passed(broker: RecordingBroker) -> None:
    """A message holds the arguments that the caller passed, the way they were passed."""
    await pay.kiq(1, card=Card(number=2, owner="ann"), retries=3)
    payload = broker.payload
    assert payload["args"] == [1]
    assert payload["kwargs"] == {"card": {"number": 2, "owner": "ann"}, "retries": 3}


async def test_taskiqs_message(broker: RecordingBroker) -> None:
    """A plain Taskiq client sends the same message."""
    plain = RecordingBroker()
    plain.id_generator = broker.id_generator = lambda: "id"

    async def pay(*args: Any, **kwargs: Any) -> None: ...

    task = plain.register_task(pay, "pay")
    await task.kiq(1, Card(number=2, owner="ann"), retries=3)
    await globals()["pay"].kiq(1, Card(number=2, owner="ann"), retries=3)
    assert json.loads(broker.sent[0].message) == json.loads(plain.sent[0].message)
    assert broker.sent[0].labels == plain.sent[0].labels


async def test_arguments_by_value(broker: RecordingBroker) -> None:
    """What a caller changes after sending is not in the message."""
    card = Card(number=1, owner="ann")
    await pay.kiq(1, card)
    card.owner = "bob"
    assert broker.payload["args"][1]["owner"] == "ann"


async def test_handle(broker: RecordingBroker) -> None:
    """The handle knows the id, the result backend and the type."""
    sent = await injected_first.kiq(n=3)  # type: ignore[call-arg]
    assert sent.task_id == broker.messages[0].task_id
    assert sent.result_backend is broker.result_backend
    assert sent.return_type is int


async def test_plain_client_to_fastask() -> None:
    """A message of a plain Taskiq client is checked and executed; a bad one is a failed result."""
    broker = InMemoryBroker(await_inplace=True)
    worker = FastTask(FastAPI(), broker)

    @worker.task("shout")
    async def shout(word: str, times: int, pool: Pool = INJECTED) -> str:
        return word * times + pool

    plain = broker.register_task(shout.func, "client side")
    kicker: Any = plain.kicker()
    kicker.task_name = "shout"
    good = await kicker.kiq("a", times="2")
    bad = await kicker.kiq("a", times="many")
    forged = await kicker.kiq("a", 1, pool="forged")
    assert (await good.get_result()).return_value == "aapool"
    for sent in (bad, forged):
        result = await sent.get_result()
        assert result.is_err
        assert isinstance(result.error, InvalidArgumentsError)
