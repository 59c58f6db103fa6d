"""The base of all errors."""

from __future__ import annotations

__all__ = ["FastaskError"]


class FastaskError(Exception):
    """The base of every error that fastask raises."""
