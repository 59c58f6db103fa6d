"""Validators of arguments and results: applied once, and kept from telling secrets."""

from typing import Annotated, Any, Unpack

import pytest
from fastapi import FastAPI
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Json,
    SecretStr,
    field_validator,
    model_validator,
)

from fastask import FastTask, InvalidArgumentsError, UnresolvableTasksError
from tests.unit.doubles import one_sentence
from tests.unit.test_wire_corners import task_of

SECRET = "hunter2secret"
Cents = Annotated[int, AfterValidator(lambda euros: euros * 100)]
Prefixed = Annotated[str, AfterValidator(lambda text: f"p:{text}")]
Kilos = Annotated[float, BeforeValidator(lambda text: float(text.removesuffix(" kg")))]


@pytest.mark.parametrize(
    ("kind", "given", "arrives"),
    [
        (Cents, 5, 500),
        (list[Cents], [5, 6], [500, 600]),
        (dict[str, Cents | None], {"a": 5, "b": None}, {"a": 500, "b": None}),
        (Prefixed, "a", "p:a"),
        (Kilos, "5 kg", 5.0),
        (Json[int], "5", 5),
        (Annotated[bytes, AfterValidator(lambda data: data + b"\xff")], b"\xff", b"\xff\xff"),
    ],
    ids=["int", "list", "dict", "str", "text for a float", "JSON", "bytes"],
)
async def test_validator_runs_once(kind: Any, given: Any, arrives: Any) -> None:
    """What a task gets of a message is what `run` gives it, though it is checked twice."""
    task = task_of(kind)
    assert await task.run(given) == arrives
    definition = task._definition
    for args, kwargs in (([given], {}), ([], {"value": given})):
        got, named = definition.load(*definition.arguments.dump(args, kwargs))
        assert [*got, *named.values()] == [arrives]
    assert definition.load_result(definition.results.dump(given)) == arrives


def test_validator_runs_once_for_each_of_many() -> None:
    """With `*args` and `**kwargs`, too."""

    async def many(*amounts: Cents, **named: Prefixed) -> None: ...

    definition = FastTask(FastAPI()).task("many")(many)._definition
    form = definition.arguments.dump((1, 2), {"a": "x"})
    assert definition.load(*form) == ((100, 200), {"a": "p:x"})


def test_instance_that_its_validator_changes_again() -> None:
    """An instance has no form in which it was given: it is refused, as before."""

    class Price(BaseModel):
        amount: Cents

    definition = task_of(Price)._definition
    [got], _ = definition.load(*definition.arguments.dump([{"amount": 5}], {}))
    assert got == Price(amount=5)
    with pytest.raises(InvalidArgumentsError, match="its class changes") as caught:
        definition.arguments.dump([Price(amount=5)], {})
    assert one_sentence(caught.value, "(got Price)")


def refuse(value: Any) -> Any:
    raise ValueError(f"{value} is no good")


def refuse_secret(value: SecretStr) -> SecretStr:
    raise ValueError(f"{value.get_secret_value()} is no good")


def refuse_shown(value: Any) -> Any:
    raise ValueError(f"{value!r} is no good")


class Named(BaseModel):
    name: str
    check = field_validator("name")(refuse)


class Login(BaseModel):
    user: str
    password: SecretStr

    @model_validator(mode="after")
    def differ(self) -> "Login":
        refuse(self.password.get_secret_value())
        return self


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (Named, {"name": SECRET}),
        (Login, {"user": "ann", "password": SECRET}),
        (Login, {"user": "ann", "password": SecretStr(SECRET)}),
        (Annotated[SecretStr, AfterValidator(refuse_secret)], SecretStr(SECRET)),
        (Annotated[list[str], AfterValidator(refuse)], [SECRET]),
        (Annotated[dict[bytes, int], AfterValidator(refuse)], {SECRET.encode(): 1}),
        (Annotated[bytes, AfterValidator(refuse)], b"\xff" + SECRET.encode()),
        (Annotated[str, AfterValidator(refuse_shown)], f"{SECRET}\n\u2028'"),
        (Annotated[list[Any], AfterValidator(refuse)], [[]] * 2000 + [SECRET]),
    ],
    ids=["field", "model", "secret of a model", "secret", "list", "key", "bytes", "repr", "long"],
)
def test_validator_that_repeats_the_value(kind: Any, given: Any) -> None:
    """What a validator says is left out where it repeats the value, or any part of it."""
    with pytest.raises(InvalidArgumentsError) as caught:
        task_of(kind)._definition.arguments.dump((given,), {})
    assert one_sentence(caught.value, "Input is not valid")
    assert SECRET not in f"{caught.value!r} {caught.value.errors}"


def test_validator_that_tells_no_value() -> None:
    """Its words are told, of a model too."""

    class Span(BaseModel):
        start: int
        end: int

        @model_validator(mode="after")
        def ordered(self) -> "Span":
            raise ValueError("the end must come after the start")

    with pytest.raises(InvalidArgumentsError, match="the end must come after the start"):
        task_of(Span)._definition.arguments.dump(({"start": 10**5000, "end": 1},), {})


async def starred(*args: *tuple[int, str]) -> None: ...


async def unpacked(*args: Unpack[tuple[int, str]]) -> None: ...  # noqa: UP044 - that is meant


@pytest.mark.parametrize("func", [starred, unpacked])
def test_tuple_that_is_unpacked(func: Any) -> None:
    """Pydantic (2.14) takes it for the type of each item; a worker would not start with it."""
    with pytest.raises(UnresolvableTasksError, match="write the type of one item"):
        FastTask(FastAPI()).task("many")(func).compile()
