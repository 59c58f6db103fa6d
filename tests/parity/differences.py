"""Where a task differs from a route, on purpose: all of it, in one place.

A route answers a client; a task has a result. That is the root of nearly every difference:

* A generator swallows an error: of the endpoint, of a dependency, of a teardown. FastAPI
  then has no response and raises an error of its own (`FastAPIError`; with scope "function"
  an `UnboundLocalError`, which outer generators see), or goes on as if nothing had happened
  when the endpoint had succeeded. A task fails with the error that was swallowed; no
  background tasks run, and generators of scope "request" see that error: a dependency can't
  turn a failed task into a successful one, and a commit that failed is never reported as done.
* An `HTTPException` is raised when the response is already sent: by a background task, or
  by a teardown of scope "request". FastAPI wraps it into a `RuntimeError`. A task fails
  with the exception itself.
* A teardown of scope "request" fails after a successful response. The client has got its
  200, and the server logs the error. A task has saved no result yet: it fails. (Both raise
  the same error, so nothing is translated here.)
* `SecurityScopes` of FastAPI names a scope twice when two dependencies of one chain ask for
  it, and once as soon as any override is set. A task names each scope once.
* A task resolves some things that a route can't: variadic functions, context manager
  functions, generic classes, two parameters for one request, mocks.

Trees of Taskiq's markers are resolved by FastAPI's rules as well, not by Taskiq's:

* Dependencies are resolved depth first, in the order of the parameters; Taskiq sorts them
  topologically. Values and calls are the same.
* A value made with `use_cache=False` still serves later uses, if it was the first, and what
  it depends on comes from the cache of the run. Taskiq gives such a subtree a cache of its
  own, and tells its `ParamInfo` nothing.
* The error of a teardown fails the task, and outer generators see it. Taskiq logs it.
* `kwargs={"name": ...}` for a parameter that has a marker is used. Taskiq resolves the marker.
* A dependency that is used with and without `kwargs` is called for both. Taskiq calls it
  once if the use without `kwargs` comes first.
"""

from __future__ import annotations

from dataclasses import replace

from tests.parity.journal import Event, Observed, described

__all__ = ["as_task_should"]

_NO_RESPONSE = ("UnboundLocalError", "cannot access local variable 'response'")
_SWALLOWED = ("FastAPIError", "Response not awaited.")
_TOO_LATE = ("RuntimeError", "Caught handled exception, but response already started.")


def as_task_should(route: Observed) -> Observed:
    """Tell what a task should do, from what the route did.

    `early_events` is how many events are to be compared, if not all: a task goes another way
    from where a generator of scope "function" swallows the error of a teardown.
    """
    events = [_with_scopes_once(_with_own_error(event, route.early)) for event in route.events]
    outcome, compared = route.outcome, None
    if route.cause is not None and _is(outcome[1:], _TOO_LATE):
        outcome = ("raised", *described(route.cause))
    if route.last is not None:
        swallowed = outcome[0] == "returned" or _is(outcome[1:], _SWALLOWED, _NO_RESPONSE)
        outcome = ("raised", *described(route.last)) if swallowed else outcome
        if route.early is not None and not route.has_failed:
            outcome, compared = ("raised",), route.early_events
    return replace(route, outcome=outcome, events=events, early_events=compared)


def _with_own_error(event: Event, failure: BaseException | None) -> Event:
    if failure is not None and event[0] == "saw" and _is(event[2], _NO_RESPONSE):
        return (*event[:2], described(failure))
    return event


def _with_scopes_once(event: Event) -> Event:
    if event[0] != "called" or "scopes" not in event[2]:
        return event
    _, scopes, _ = event[2]["scopes"]
    once = tuple(dict.fromkeys(scopes))
    return (*event[:2], {**event[2], "scopes": ("scopes", once, " ".join(once))})


def _is(error: tuple[str, ...], *known: tuple[str, str]) -> bool:
    return any(error[:1] == (kind,) and error[1].startswith(message) for kind, message in known)
