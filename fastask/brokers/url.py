"""Broker URLs: one string that says which server, which queue, and how patient."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from fastask.exceptions import BrokerURLError

__all__ = ["BrokerURL", "Settings", "parsed", "resolved", "url_of"]

_ENVIRONMENT = "env:"
_OF_RESULTS = ("queue", "results_ttl", "wait")
_OF_MEMORY = ("results_ttl",)


class Settings(NamedTuple):
    """What the query of a broker URL sets; the same for every URL.

    Attributes:
        queue: the name of the queue; it is also the name of what a server keeps for it.
        deadline: seconds until a message whose worker has died is given to another one.
            A worker that is alive extends it for as long as the task runs.
        prefetch: how many messages a worker process takes at once; never more than it can
            start, where it can tell.
        results_ttl: seconds for which results are kept.
        wait: seconds for which a start waits for a server that is not there.
    """

    queue: str = "taskiq"
    deadline: float = 60.0
    prefetch: int = 25
    results_ttl: int = 86_400
    wait: float = 0.0


class BrokerURL(NamedTuple):
    """A broker URL, taken apart.

    Attributes:
        scheme: what stands before `://`, in lower case.
        address: the URL without its query, with its password.
        settings: what the query sets.
    """

    scheme: str
    address: str
    settings: Settings

    @property
    def shown(self) -> str:
        """The address for messages, without its password."""
        login, at, place = self.address.rpartition("@")
        if not at or self.scheme == "sqlite":  # whose address is a path
            return self.address
        user = re.match(r"\w+://[^\s/:@,]*:", login)
        return f"{user[0] if user else f'{self.scheme}://'}***@{place}"

    def __repr__(self) -> str:
        return f"BrokerURL({self.shown!r}, {self.settings})"


def url_of(url: BrokerURL | str) -> BrokerURL:
    """Give a URL taken apart.

    Raises:
        BrokerURLError: see `parsed`.
    """
    return parsed(resolved(url)) if isinstance(url, str) else url


def resolved(url: str) -> str:
    """Give the URL that `"env:NAME"` stands for; any other as it is.

    Raises:
        BrokerURLError: the environment has no such variable.
    """
    if not url.startswith(_ENVIRONMENT):
        return url
    name = url.removeprefix(_ENVIRONMENT)
    if found := os.environ.get(name, "").strip():  # a file it came from may end with a newline
        return found
    if not name.isidentifier():  # it may be anything, such as a URL with a password
        raise BrokerURLError("env:", "name an environment variable, such as env:TASKS_URL")
    raise BrokerURLError(url, f"set the environment variable {name} to a broker URL")


def parsed(url: str, *, is_of_results: bool = False) -> BrokerURL:
    """Take a URL apart.

    Args:
        url: the URL.
        is_of_results: whether it says where results alone are kept.

    Raises:
        BrokerURLError: it has no scheme, or its query sets what there is not, what means
            nothing here, sets it twice or to a value that can't be.
    """
    scheme, colon, rest = url.partition("://")
    scheme = scheme.lower()
    if not colon or not scheme.isalnum():
        # Nothing of it is shown: it may be a password.
        raise BrokerURLError("?", "write it as scheme://..., such as 'sqlite:///tasks.db'")
    address, _, query = rest.partition("?")
    try:
        urlsplit(f"{scheme}://{address}").port  # noqa: B018 - it is what raises
    except ValueError:
        if scheme != "sqlite" and "," not in address:  # as with several NATS servers
            raise BrokerURLError(scheme, "its port is no number from 0 to 65535") from None
    settings = _settings(scheme, query, is_of_results=is_of_results)
    return BrokerURL(scheme, f"{scheme}://{address}", settings)


def _settings(scheme: str, query: str, *, is_of_results: bool) -> Settings:
    given: dict[str, Any] = {}
    known = list(Settings._fields)
    heeded: Sequence[str] = known
    if is_of_results:
        heeded = _OF_RESULTS
    elif scheme == "memory":
        heeded = _OF_MEMORY
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise BrokerURLError(scheme, _unknown(name, heeded, is_shown=bool(text)))
        if name not in heeded:
            where = "where only results are kept" if is_of_results else "in memory"
            reason = f"{name!r} means nothing {where}; it may set {_listed(heeded)}"
            raise BrokerURLError(scheme, reason)
        if name in given:
            raise BrokerURLError(scheme, f"{name!r} is set twice")
        given[name] = _value(scheme, name, text)
    return Settings(**given)


def _unknown(name: str, known: Sequence[str], *, is_shown: bool) -> str:
    """Say that a query sets what there is not; without a value, the name may be a password."""
    from difflib import get_close_matches  # noqa: PLC0415 - takes long to load, is seldom needed

    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    named = f"there is no {name[:40]!r}" if is_shown or near else "its query can't be read"
    return f"{named}; {hint}it may set {_listed(known)}"


def _value(scheme: str, name: str, text: str) -> Any:
    read, wanted, fits = _VALUES[name]
    try:
        value = read(text)
    except ValueError:
        value = None
    if value is None or not fits(value):
        raise BrokerURLError(scheme, f"{name} must be {wanted}, not {text[:40]!r}")
    return value


def _is_name(text: str) -> bool:
    return 0 < len(text) <= 100 and all(each.isalnum() or each in "_-" for each in text)


_Value = tuple[Callable[[str], Any], str, Callable[[Any], bool]]
_VALUES: dict[str, _Value] = {
    "queue": (str, "up to 100 letters, digits, '-' and '_'", _is_name),
    "deadline": (float, "a number of seconds, 1 or more", lambda it: isfinite(it) and it >= 1),
    "prefetch": (int, "a whole number, 1 or more", lambda it: it >= 1),
    "results_ttl": (int, "a whole number of seconds, 1 or more", lambda it: it >= 1),
    "wait": (float, "a number of seconds, 0 or more", lambda it: isfinite(it) and it >= 0),
}


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
