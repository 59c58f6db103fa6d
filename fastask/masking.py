"""Text of others, such as errors, without the secrets that it may hold."""

from __future__ import annotations

import re
import traceback

__all__ = ["in_full", "masked"]

_SECRETS = (
    # One of NATS names several servers, each of which may have a token of any characters.
    (re.compile(r"(\b(?:nats|tls)://(?:[^\s/:@,]*:)?)\S*@", re.IGNORECASE), r"\1***@"),
    (re.compile(r"(\b[\w+.-]+://[^\s/:@]*):\S*@"), r"\1:***@"),  # user and password
    (re.compile(r"(\b[\w+.-]+://)[^\s/:@]+@"), r"\1***@"),  # a token alone
    (
        re.compile(
            r"(\b\w*(?:passw(?:or)?d|pwd|secret|token|api_?key)\w*(?:\s*=|['\"]\s*:)\s*)"
            r"('[^']*'|\"[^\"]*\"|[^\s&;,)}\]]+)",
            re.IGNORECASE,
        ),
        r"\1***",
    ),
)


def masked(text: str) -> str:
    """Give a text without users' passwords in URLs and values of `password=` and the like."""
    for secret, shown in _SECRETS:
        text = secret.sub(shown, text)
    return text


def in_full(error: BaseException) -> str:
    """Give an error with its traceback, masked."""
    return masked("".join(traceback.format_exception(error)).rstrip())
