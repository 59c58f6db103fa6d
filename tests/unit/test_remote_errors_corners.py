"""Errors that are hard to send: large, deep, secret, or of odd classes."""

import itertools
import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import FastAPI
from pydantic import AfterValidator, SecretStr, TypeAdapter, ValidationError, create_model
from pydantic_core import PydanticCustomError
from taskiq import InMemoryBroker

from fastask import FastTask, RemoteError
from fastask.wire.errors import dumped_error, loaded_error
from tests.unit.test_remote_errors import StoringResults, raised
from tests.unit.wire_values import SERIALIZERS


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        super().__init__("slotted")
        self.code = code


class Oddly(Exception):
    __notes__ = 5  # type: ignore[assignment]


def test_slots() -> None:
    """Attributes in slots come back, too."""
    got: Any = loaded_error(dumped_error(Slotted(5)))
    assert (type(got), got.code) == (Slotted, 5)
    assert type(loaded_error(dumped_error(Oddly("a")))) is Oddly


def test_nothing_is_read_or_shown(tmp_path: Path) -> None:
    """Open files, endless iterators and secrets of an error stay where they are."""
    path = tmp_path / "file"
    path.write_text("content")
    error = ValueError(SecretStr("hunter2"))
    with path.open() as opened:
        error.file, error.ids = opened, itertools.repeat(0)  # type: ignore[attr-defined]
        error.secret = SecretStr("hunter2")  # type: ignore[attr-defined]
        form = json.dumps(dumped_error(error))
        assert opened.read() == "content"
    assert "hunter2" not in form
    got = loaded_error(json.loads(form))
    assert vars(got) == {}
    assert got.args == ("SecretStr('**********')",)


def test_payload_of_a_validation_error() -> None:
    """Each missing field has the whole payload as its input; it does not travel so often."""
    fields: Any = {f"f{n}": (int, ...) for n in range(300)}
    payload = {"text": "x" * 100_000}
    error: Any = raised(lambda: create_model("Long", **fields).model_validate(payload))
    form = json.dumps(dumped_error(error))
    assert len(form) < 500_000
    got = loaded_error(json.loads(form))
    assert isinstance(got, ValidationError)
    assert got.errors()[0]["loc"] == ("f0",)


def test_validation_error_of_ones_own_type() -> None:
    """A type of error that is not pydantic's comes back with its words."""

    def refuse(value: int) -> int:
        raise PydanticCustomError("odd", "no {good} at all", {"good": "good"})

    kind: Any = Annotated[int, AfterValidator(refuse)]
    error: Any = raised(lambda: TypeAdapter(kind).validate_python(1))
    got: Any = loaded_error(json.loads(json.dumps(dumped_error(error))))
    assert str(got) == str(error)
    assert (got.errors()[0]["type"], got.errors()[0]["input"]) == ("odd", 1)


def test_very_many_errors() -> None:
    """Groups in groups, which share their errors, are told to a number."""
    error: Exception = ValueError("x")
    for _ in range(7):
        error = ExceptionGroup("many", [error] * 8)
    assert len(json.dumps(dumped_error(error))) < 100_000
    assert isinstance(loaded_error(dumped_error(error)), ExceptionGroup | RemoteError)


@pytest.mark.parametrize("serializer", SERIALIZERS, ids=lambda made: made.__name__)
async def test_error_that_is_nested_deeply(serializer: Any) -> None:
    """An error that no backend could store is told by its text, and not lost."""
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    backend = StoringResults(serializer())
    ft = FastTask(FastAPI(), InMemoryBroker().with_result_backend(backend))

    @ft.task("fails")
    async def fails() -> None:
        raise ValueError(deep)

    result = await (await fails.kiq()).wait_result(0.002, timeout=5)
    assert isinstance(result.error, ValueError)
    assert str(result.error).startswith("[[[[")
