"""Text of others in lengths that fit a log: names, keys and errors may be of any size."""

from __future__ import annotations

__all__ = ["in_one_line", "shortened"]


def shortened(text: str, limit: int) -> str:
    """Give a text of at most `limit` characters; one that was cut says how long it was."""
    if len(text) <= limit:
        return text
    ending = f"... ({len(text)} characters)"
    return text[: max(limit - len(ending), 0)] + ending


def in_one_line(text: str, limit: int) -> str:
    """Shorten a text, and write what is not printable, such as a line's end, as Python does."""
    text = shortened(text, limit)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
