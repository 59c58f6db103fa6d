"""Replacing attributes and overrides until the end of a test."""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import ExitStack
from typing import Any

from fastapi import FastAPI

__all__ = ["keep", "keep_overrides", "replace"]

_ABSENT = object()


def keep_overrides(undo: ExitStack, app: FastAPI) -> None:
    """Have an app's overrides put back: the mapping, and what is in it."""
    overrides = app.dependency_overrides
    undo.callback(setattr, app, "dependency_overrides", overrides)
    keep(undo, overrides)


def keep(undo: ExitStack, mapping: MutableMapping[Any, Any]) -> None:
    """Have put back what is in a mapping."""

    def put_back(former: dict[Any, Any]) -> None:
        mapping.clear()
        mapping.update(former)

    undo.callback(put_back, dict(mapping))


def replace(undo: ExitStack, target: Any, replacements: dict[str, Any]) -> None:
    """Replace attributes of an object, and have what they were put back."""
    undo.callback(
        _restore, target, {name: vars(target).get(name, _ABSENT) for name in replacements}
    )
    for name, replacement in replacements.items():
        setattr(target, name, replacement)


def _restore(target: Any, former: dict[str, Any]) -> None:
    for name, value in former.items():
        if value is _ABSENT:
            delattr(target, name)
        else:
            setattr(target, name, value)
