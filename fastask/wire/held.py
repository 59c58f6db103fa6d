"""What an object holds, and whose objects keep it to themselves."""

from __future__ import annotations

from contextlib import suppress
from types import MemberDescriptorType
from typing import Any

from pydantic import Secret, SecretBytes, SecretStr

__all__ = ["SECRETS", "attributes_of"]

SECRETS = (SecretStr, SecretBytes, Secret)
"""Pydantic's classes of values that are not shown."""


def attributes_of(value: Any) -> dict[str, Any]:
    """Give the attributes that an object has in its `__dict__` and in slots."""
    found: dict[str, Any] = {}
    for kind in type(value).__mro__:
        slots = vars(kind) if "__slots__" in vars(kind) else {}
        for name, slot in slots.items():
            if isinstance(slot, MemberDescriptorType):
                with suppress(AttributeError):  # one that is not set
                    found[name] = slot.__get__(value)
    return found | getattr(value, "__dict__", {})
