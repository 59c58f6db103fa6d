"""No problem tells a secret, whoever words it."""

from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    Secret,
    SecretBytes,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from fastask import InvalidArgumentsError
from fastask.wire.problems import problems_of, secrets_in
from tests.unit.doubles import one_sentence
from tests.unit.test_remote_errors import raised
from tests.unit.test_wire_corners import task_of

SECRET = "hunter2secret"
T = TypeVar("T")


class Change(BaseModel):
    """A validator that tells what another field holds."""

    old: SecretStr
    new: str

    @field_validator("new")
    @classmethod
    def compare(cls, new: str, info: ValidationInfo) -> str:
        raise ValueError(f"it is longer than {info.data['old'].get_secret_value()}")


class Weak(BaseModel):
    """A validator with a type of problem of its own."""

    password: SecretStr

    @model_validator(mode="after")
    def refuse(self) -> "Weak":
        told = {"it": self.password.get_secret_value()}
        raise PydanticCustomError("weak", "{it} is weak", told)


@dataclass(slots=True)
class Token:
    value: SecretStr


class Hidden:
    """A class of no fields that pydantic knows."""

    __slots__ = ("__value", "other")

    def __init__(self, value: SecretStr) -> None:
        self.__value = value


class Odd(BaseModel):
    """Its error is not pydantic's."""

    secret: SecretStr

    @property
    def text(self) -> str:
        return self.secret.get_secret_value()


@dataclass
class Tree(Generic[T]):
    keys: dict[T, int]
    below: "list[Tree[T]]"


def refuse(value: Any) -> Any:
    raise ValueError(f"{SECRET} is no good")


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        (Change, {"old": SECRET, "new": "zzz"}, "value.new: Input is not valid"),
        (Change, {"old": SecretStr(SECRET), "new": "zzz"}, "value.new: Input is not valid"),
        (Weak, {"password": SECRET}, "value: Input is not valid"),
        (Annotated[Token, AfterValidator(refuse)], Token(SecretStr(SECRET)), "Input is not"),
        (Annotated[Hidden, AfterValidator(refuse)], Hidden(SecretStr(SECRET)), "Input is not"),
        (dict[SecretStr, int], {SECRET: "x"}, "value.<hidden>: Input should be"),
        (dict[SecretBytes, list[int]], {SECRET: [1, "x"]}, "value.<hidden>.1: Input should be"),
        (dict[tuple[Secret[str], int], int], {SECRET: 1}, "value.<hidden>.[key]: Input"),
        (list[dict[SecretStr | None, Change]], [{SECRET: {"old": "a"}}], "0.<hidden>.new: "),
        (Tree[SecretStr], {"keys": {SECRET: "x"}, "below": []}, "value.keys.<hidden>: Input"),
    ],
)
def test_secret_is_not_told(kind: Any, given: Any, told: str) -> None:
    """Neither one beside the value, nor one that a class hides, nor one that is a key."""
    with pytest.raises(InvalidArgumentsError) as caught:
        task_of(kind)._definition.arguments.dump((given,), {})
    one_sentence(caught.value, told)
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.errors}"


def test_attribute_that_can_not_be_read() -> None:
    """What pydantic tells of an attribute's exception is looked through, too."""

    class Row:
        secret = SecretStr(SECRET)

        @property
        def text(self) -> str:
            raise RuntimeError(f"{SECRET} can't be read")

        def __init__(self) -> None:
            self.held = self.secret

    class Read(BaseModel, from_attributes=True):
        text: str

    error: Any = raised(lambda: Read.model_validate(Row()))
    assert isinstance(error, ValidationError)
    [one], _ = problems_of(error)
    assert (one["loc"], one["msg"]) == (("text",), "Input is not valid")


def test_what_is_no_secret_is_told() -> None:
    """Keys, and the words of a validator that repeat a field beside it."""

    class Span(BaseModel):
        kind: str
        end: int

        @model_validator(mode="after")
        def ordered(self) -> "Span":
            return self

        @field_validator("end")
        @classmethod
        def late(cls, end: int) -> int:
            raise ValueError("the end of a week must be late")

    with pytest.raises(InvalidArgumentsError, match="the end of a week must be late"):
        task_of(Span)._definition.arguments.dump(({"kind": "week", "end": 1},), {})
    with pytest.raises(InvalidArgumentsError, match=r"value\.tea: Input should be"):
        task_of(dict[str, int])._definition.arguments.dump(({"tea": "x"},), {})


def test_secrets_of_annotations() -> None:
    """They are found wherever an annotation names them."""
    assert secrets_in({"a": int, "b": list[Tree[str]]}) == (False, None)
    assert secrets_in({"a": Annotated[list[Secret[int]], 5]}) == (True, None)
    are_expected, names = secrets_in({"a": Tree[SecretStr], "b": Change})
    assert are_expected
    assert set(names or ()) == {"a", "b", "keys", "below", "old", "new"}
