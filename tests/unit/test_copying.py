"""Copies of what a message holds."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from fastask.copying import copied, copied_call

VALUES: list[Any] = [
    [],
    {},
    [1, "a", 1.5, True, None, b"b"],
    [[1], {"a": [2]}, [[[]]]],
    {"a": {"b": {"c": []}}, "d": 1},
    [([1], {2}), bytearray(b"b"), datetime(2030, 1, 1, tzinfo=UTC)],
]


@pytest.mark.parametrize("value", VALUES)
def test_copied(value: Any) -> None:
    """Equal, and nothing in it that can be changed is the other's."""
    made, before = copied(value), copy.deepcopy(value)
    assert made == value
    assert changeable(made).isdisjoint(changeable(value))
    assert value == before


def test_call() -> None:
    """Arguments that can't be changed are left as they are, and what one holds is copied once."""
    args, kwargs = (1, "a", None), {"b": True}
    assert copied_call(args, kwargs) == (args, kwargs)
    assert copied_call(args, kwargs)[0] is args
    assert copied_call(args, kwargs)[1] is kwargs
    inner = [1]
    copies, named = copied_call((1, inner), {"b": inner})
    assert (copies, named) == ([1, inner], {"b": inner})
    assert copies[1] is named["b"]
    assert copies[1] is not inner


def changeable(value: Any) -> set[int]:
    """The ids of all that can be changed in a value."""
    parts = list(value.values()) if isinstance(value, dict) else []
    if isinstance(value, (list, tuple, set)):
        parts = list(value)
    own = {id(value)} if isinstance(value, (list, dict, set, bytearray)) else set()
    return own.union(*map(changeable, parts))


def test_depth() -> None:
    """Any depth that a serializer may read."""
    value: list[Any] = []
    for _ in range(10_000):
        value = [value]
    made, depth = copied(value), 0
    while made:
        (made,), depth = made, depth + 1
    assert depth == 10_000


def test_what_occurs_twice_or_contains_itself() -> None:
    """Some serializers can read that."""
    inner: list[Any] = [1]
    around: list[Any] = [inner, (inner,), {"a": inner}]
    around.append(around)
    made = copied(around)
    assert made is made[3]
    assert made[0] is made[1][0] is made[2]["a"]
    assert made[0] is not inner
