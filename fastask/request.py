"""The request that dependencies get in a task.

No HTTP request stands behind it: its scope is complete, its values are empty, and it
never carries anything of the request in which the task was sent.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, NoReturn
from urllib.parse import SplitResult, urlsplit

from fastapi import FastAPI, Request

from fastask.exceptions import NoHTTPBodyError

__all__ = ["RequestFactory", "TaskRequest"]

_PORTS = {"http": 80, "https": 443}
# Not an address: an allow-list of addresses must never let a task pass.
_CLIENT = ("task", 0)


class TaskRequest(Request):
    """A request without a body, for the dependencies of one task run."""

    def stream(self) -> AsyncGenerator[bytes, None]:
        """Raise `NoHTTPBodyError`."""
        raise NoHTTPBodyError("stream()")

    async def body(self) -> bytes:
        """Raise `NoHTTPBodyError`."""
        raise NoHTTPBodyError("body()")

    async def json(self) -> Any:
        """Raise `NoHTTPBodyError`."""
        raise NoHTTPBodyError("json()")

    def form(self, **limits: Any) -> NoReturn:
        """Raise `NoHTTPBodyError`."""
        raise NoHTTPBodyError("form()")

    async def is_disconnected(self) -> bool:
        """Tell that nobody has gone away."""
        return False


async def _no_receive() -> NoReturn:
    raise NoHTTPBodyError("receive()")


def _shown(base_url: str | None) -> str:
    """A URL for an error: what may be a password is not shown."""
    return repr(base_url) if "@" not in str(base_url) else "(with user and password)"


class RequestFactory:
    """Makes the requests of one app's tasks.

    Args:
        base_url: what links made by `request.url_for` start with, such as
            `"https://example.org"`. A path in it is used as the root path; without one,
            the root path is the app's. Default: `http://localhost`.

    Raises:
        ValueError: `base_url` is not an absolute `http` or `https` URL.
    """

    def __init__(self, base_url: str | None = None) -> None:
        parts = urlsplit(base_url or "http://localhost")
        try:
            port = parts.port
        except ValueError:
            port = -1
        is_more = bool(parts.query or parts.fragment)
        if parts.scheme not in _PORTS or not parts.hostname or port == -1 or is_more:
            raise ValueError(
                f"base_url {_shown(base_url)} is no absolute URL of a server or a path on it; "
                "write it as 'https://example.org'"
            )
        self._parts: SplitResult = parts
        self._app: FastAPI | None = None
        self._scope: dict[str, Any] = {}

    def make(self, app: FastAPI, state: Mapping[str, Any]) -> TaskRequest:
        """Make the request of one run.

        Args:
            app: the app; its router resolves names in `url_for`.
            state: what the lifespan yielded; the run gets a copy of its own.
        """
        if self._app is not app:
            self._app, self._scope = app, self._scope_of(app)
        scope = self._scope.copy()
        scope["headers"], scope["path_params"], scope["state"] = [], {}, dict(state)
        return TaskRequest(scope, _no_receive)

    def _scope_of(self, app: FastAPI) -> dict[str, Any]:
        """What the scopes of all runs have in common, and the keys that differ."""
        parts = self._parts
        root_path = parts.path.rstrip("/") or app.root_path
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": parts.scheme,
            "server": (parts.hostname, parts.port or _PORTS[parts.scheme]),
            "client": _CLIENT,
            "root_path": root_path,
            "app_root_path": root_path,
            "path": f"{root_path}/",
            "raw_path": f"{root_path}/".encode(),
            "query_string": b"",
            "app": app,
            "router": app.router,
            "headers": None,
            "path_params": None,
            "state": None,
        }
