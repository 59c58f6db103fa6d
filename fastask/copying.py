"""Copies of what a message holds, so that a run can't change what is sent again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeVar

__all__ = ["copied", "copied_call"]

T = TypeVar("T", list[Any], dict[str, Any])

_UNCHANGEABLE = frozenset({str, int, float, bool, bytes, type(None)})


def copied_call(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Copy the arguments of a call, if there is anything in them that can be changed."""
    values = (*args, *kwargs.values())
    if _UNCHANGEABLE.issuperset(map(type, values)):
        return args, kwargs
    call: list[Any] = copied([[*args], {**kwargs}])
    return call[0], call[1]


def copied(value: T) -> T:
    """Copy a list or mapping and all that can be changed in it.

    As `copy.deepcopy` does, but faster for what serializers give, and at any depth.
    """
    whole: Any = value.copy()
    made: dict[int, Any] = {id(value): whole}  # each once, as some serializers read circles
    left = [whole]
    while left:
        each = left.pop()
        places = each.items() if type(each) is dict else enumerate(each)
        if _UNCHANGEABLE.issuperset(map(type, each.values() if type(each) is dict else each)):
            continue
        for place, part in places:
            kind = type(part)
            if kind is list or kind is dict:
                if id(part) not in made:
                    made[id(part)] = part.copy()
                    left.append(made[id(part)])
                each[place] = made[id(part)]
            elif kind not in _UNCHANGEABLE:
                each[place] = deepcopy(part, made)
    copy: T = whole
    return copy
