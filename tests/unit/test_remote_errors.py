"""Errors of tasks come back whole: class, message, attributes, notes, causes."""

import asyncio
import builtins
import json
import logging
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from pydantic import (
    BaseModel,
    ValidationError,
    field_validator,
)
from taskiq import (
    AsyncResultBackend,
    AsyncTaskiqTask,
    InMemoryBroker,
    TaskiqMessage,
    TaskiqMiddleware,
    TaskiqResult,
)
from taskiq.abc.serializer import TaskiqSerializer
from taskiq.serializers import JSONSerializer

from fastask import FastTask, InvalidArgumentsError, RemoteError, UnknownTaskError
from fastask.wire.errors import dumped_error, loaded_error
from tests.unit.wire_values import SERIALIZERS


class StoringResults(AsyncResultBackend[Any]):
    """Keeps results as bytes, as a server does."""

    def __init__(self, serializer: TaskiqSerializer) -> None:
        self.serializer = serializer
        self.stored: dict[str, bytes] = {}

    async def set_result(self, task_id: str, result: TaskiqResult[Any]) -> None:
        self.stored[task_id] = self.serializer.dumpb(result.model_dump(mode="json"))

    async def is_result_ready(self, task_id: str) -> bool:
        return task_id in self.stored

    async def get_result(self, task_id: str, with_logs: bool = False) -> TaskiqResult[Any]:
        return TaskiqResult[Any].model_validate(self.serializer.loadb(self.stored[task_id]))


class Declined(Exception):
    """Its `__init__` takes other arguments than it passes on."""

    def __init__(self, card: str, *, code: int) -> None:
        super().__init__(f"card {card} was declined")
        self.card = card
        self.code = code


class Silent(Exception):
    def __init__(self, code: int) -> None:
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


class Reduced(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")
        self.both = (one, two)

    def __reduce__(self) -> Any:
        return type(self), self.both


@dataclass
class Fields(Exception):
    code: int
    names: set[str]


class Item(BaseModel):
    number: int
    name: str = ""

    @field_validator("name")
    @classmethod
    def refuse(cls, name: str) -> str:
        raise ValueError("no name is good")


def raised(error: Any) -> BaseException:
    """What a call raises, or an error that is raised, so that it has a traceback."""
    try:
        if isinstance(error, BaseException):
            raise error
        error()
    except BaseException as caught:
        return caught
    raise AssertionError("nothing was raised")


def noted(error: BaseException, *notes: str) -> BaseException:
    for note in notes:
        error.add_note(note)
    return error


ERRORS: list[BaseException] = [
    ValueError("bad"),
    ValueError(),
    ValueError("bad", 5, None, (1, b"\xff")),
    KeyError("key"),
    noted(RuntimeError("tired"), "in the morning", "grüße \ud800"),
    raised(Path("/nowhere/at/all").read_bytes),
    raised("\ud800".encode),
    raised(b"\xff".decode),
    raised(lambda: json.loads("{")),
    raised(lambda: 1 / 0),
    raised(lambda: Item(number="x", name="y")),
    ImportError("no", name="module", path="path"),
    UnicodeTranslateError("text", 1, 2, "why"),
    TimeoutError(),
    HTTPException(status_code=404, detail={"at": "home"}, headers={"a": "b"}),
    Declined("1234", code=5),
    Silent(7),
    Reduced(1, 2),
    Fields(3, {"a"}),
    ExceptionGroup("two", [Declined("1", code=2), ExceptionGroup("in", [KeyError("a")])]),
    UnknownTaskError("a:b", ["a:c"]),
    InvalidArgumentsError("a:b", [{"type": "t", "loc": ("a", 1), "msg": "m", "got": "int"}]),
]


def parts(error: BaseException | None) -> Any:
    """All that can be told of an error."""
    if error is None:
        return None
    told: list[Any] = [type(error), str(error), repr(error), getattr(error, "__notes__", None)]
    if isinstance(error, BaseExceptionGroup):
        return [*told, error.message, *map(parts, error.exceptions)]
    if isinstance(error, ValidationError):
        return [*told, [(one["type"], one["loc"], one["input"]) for one in error.errors()]]
    names = ("errno", "filename", "name", "path", "object", "start", "reason")
    of_class = {name: getattr(error, name, None) for name in names}
    context = None if error.__suppress_context__ else error.__context__
    own = {name: value for name, value in vars(error).items() if name != "__notes__"}
    return [*told, error.args, own, of_class, parts(error.__cause__), parts(context)]


@pytest.mark.parametrize("serializer", SERIALIZERS, ids=lambda made: made.__name__)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_error_comes_back(
    error: BaseException,
    serializer: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The caller gets an error of the same class that tells the same; nothing is unpickled."""
    caplog.set_level(logging.CRITICAL)  # a report with such text is not sent by pytest-xdist
    monkeypatch.setattr(pickle, "loads", None)
    backend = StoringResults(serializer())
    ft = FastTask(FastAPI(), InMemoryBroker().with_result_backend(backend))

    @ft.task("fails")
    async def fails() -> int:
        raise error

    sent = await fails.kiq()
    result = await sent.wait_result(0.002, timeout=5)
    assert result.is_err
    assert parts(result.error) == parts(error)
    assert result.error is not error
    assert result.labels == {}
    with pytest.raises(type(error)) as caught:
        await sent.result(timeout=5)
    assert parts(caught.value)[:4] == parts(error)[:4]


async def test_causes() -> None:
    """Causes and contexts come back with the error, as deep as they are told."""

    def fail() -> None:
        try:
            try:
                raise Declined("1", code=2)
            except Declined as error:
                raise noted(KeyError("a"), "note") from error
        except KeyError:
            raise ValueError("c")  # noqa: B904

    error = raised(fail)
    got = loaded_error(json.loads(json.dumps(dumped_error(error))))
    assert parts(got) == parts(error)
    assert isinstance(got.__context__, KeyError)
    assert isinstance(got.__context__.__cause__, Declined)
    hidden = raised(ValueError("d"))
    hidden.__context__, hidden.__suppress_context__ = KeyError("e"), True
    assert loaded_error(dumped_error(hidden)).__suppress_context__


def test_causes_without_an_end() -> None:
    """Errors that cause each other are told to a depth."""
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    got: BaseException | None = loaded_error(dumped_error(one))
    depth = 0
    while got is not None:
        got, depth = got.__cause__, depth + 1
    assert depth == 9


async def test_class_that_is_not_loaded() -> None:
    """An error of a class that this process does not have is told by a `RemoteError`."""

    class Local(Exception):
        pass

    got = loaded_error(dumped_error(noted(Local("why"), "note")))
    assert isinstance(got, RemoteError)
    assert got.type.endswith("Local")
    assert got.text == "why"
    assert got.__notes__ == ["note"]
    assert str(got) == f"the task raised {Local.__module__}.{Local.__qualname__}: why"


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "builtins:print",
        "builtins:int",
        "nowhere:Nothing",
        "",
        "builtins:",
        "json:loads",
    ],
)
def test_nothing_but_exceptions_is_made(name: str) -> None:
    """A forged result can't have anything else called, and nothing is imported."""
    form = {**dumped_error(ValueError("x")), "type": name}
    assert isinstance(loaded_error(form), RemoteError)


@pytest.mark.parametrize("form", [5, {}, {"type": 5}, {"type": "builtins:ValueError"}, None, []])
async def test_label_of_another(form: Any) -> None:
    """A label of the same name that holds something else does no harm."""
    backend = StoringResults(JSONSerializer())
    ft = FastTask(FastAPI(), InMemoryBroker().with_result_backend(backend))

    @ft.task("fails")
    async def fails() -> None: ...

    failed: Any = TaskiqResult(
        is_err=True,
        return_value=None,
        execution_time=0,
        error=ValueError("plain"),
        labels={"fastask_error": form},
    )
    sent = await fails.kiq()
    await backend.set_result(sent.task_id, failed)
    with pytest.raises(ValueError, match=r"^plain$"):
        await sent.result(timeout=5)


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


async def test_attributes_that_have_no_form() -> None:
    """What can't travel is left out, or told by its `repr` where it is an argument."""
    error = ValueError(lock := asyncio.Lock(), "b")
    error.lock, error.number = lock, 5  # type: ignore[attr-defined]
    got = loaded_error(json.loads(json.dumps(dumped_error(error))))
    assert got.args == (repr(lock), "b")
    assert vars(got) == {"number": 5}
    assert isinstance(loaded_error(dumped_error(Hostile())), RemoteError)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_what_is_no_exception(error: BaseException) -> None:
    """What would end the caller is raised as a `RemoteError`; the result has it as it is."""
    ft = FastTask(FastAPI(), InMemoryBroker().with_result_backend(StoringResults(JSONSerializer())))

    @ft.task("exits")
    async def exits() -> None:
        raise error

    sent = await exits.kiq()
    assert type((await sent.wait_result(0.002, timeout=5)).error) is type(error)
    with pytest.raises(RemoteError, match=type(error).__name__) as caught:
        await sent.result(timeout=5)
    assert type(caught.value.__cause__) is type(error)


@pytest.mark.parametrize("serializer", SERIALIZERS, ids=lambda made: made.__name__)
async def test_plain_client(serializer: Any) -> None:
    """A plain Taskiq client reads Taskiq's own error; where none can be stored, its text."""
    backend = StoringResults(serializer())
    ft = FastTask(FastAPI(), InMemoryBroker().with_result_backend(backend))

    @ft.task("fails")
    async def fails(text: str) -> None:
        if text:
            raise ValueError(text)
        "\ud800".encode()

    plain: Any = AsyncTaskiqTask((await fails.kiq("bad")).task_id, backend)
    with pytest.raises(ValueError, match=r"^bad$"):
        (await plain.wait_result(0.002, timeout=5)).raise_for_error()
    plain = AsyncTaskiqTask((await fails.kiq("")).task_id, backend)
    error = (await plain.wait_result(0.002, timeout=5)).error
    assert isinstance(error, UnicodeEncodeError | RemoteError)
    assert "surrogates not allowed" in str(error)


class Changing(TaskiqMiddleware):
    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        result.error = Declined("2", code=3)


async def test_error_that_a_middleware_changed() -> None:
    """What the middlewares left is what the caller gets."""
    backend = StoringResults(JSONSerializer())
    broker = InMemoryBroker().with_result_backend(backend)
    ft = FastTask(FastAPI(), broker)
    FastTask(FastAPI(), broker)  # the middleware is there once
    broker.add_middlewares(Changing())
    assert [type(one).__name__ for one in broker.middlewares] == ["FailureMiddleware", "Changing"]

    @ft.task("fails")
    async def fails() -> None:
        raise ValueError("first")

    with pytest.raises(Declined) as caught:
        await (await fails.kiq()).result(timeout=5)
    assert (caught.value.card, caught.value.code) == ("2", 3)


async def test_error_in_memory_is_the_very_error() -> None:
    """Where results stay in the process, the error is the one that was raised."""
    ft = FastTask(FastAPI())
    error = Declined("1", code=2)

    @ft.task
    async def fails() -> None:
        raise error

    sent = await fails.kiq()
    with pytest.raises(Declined) as caught:
        await sent.result(timeout=5)
    assert caught.value is error


def test_builtins_all() -> None:
    """Every built-in exception that can be made from a text comes back."""
    kinds = [kind for kind in vars(builtins).values() if isinstance(kind, type)]
    made = []
    for kind in kinds:
        if issubclass(kind, BaseException):
            try:
                made.append(kind("text"))
            except TypeError:
                continue
    assert len(made) > 50
    for error in made:
        assert parts(loaded_error(json.loads(json.dumps(dumped_error(error))))) == parts(error)
