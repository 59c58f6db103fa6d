"""The pytest plugin: a `tasks` fixture, a marker, and what was sent in the report of a failure."""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.util
import inspect
import sys
import threading
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, contextmanager
from traceback import walk_tb
from types import MethodType
from typing import Any
from unittest import IsolatedAsyncioTestCase

import pytest
from taskiq import SendTaskError

from fastask.shortening import in_one_line
from fastask.testing.loops import this_loop
from fastask.testing.record import listing
from fastask.testing.session import Session, watchers
from fastask.testing.tasks import AsyncTasks, Tasks

__all__ = ["tasks"]

_INI = "fastask_app"
_OPTIONS = ("run", "raise_errors", "lifespan")

_FORGOTTEN = "fastask_forgotten"  # of a report
_LONGEST = 400  # characters of the names in a line
_MOST_LEFT = 20  # of the `ft.testing()` of one test, whose tasks are kept for its report

_IS_ASYNC = pytest.StashKey[bool]()
_GIVEN = pytest.StashKey[Any]()
_OPENED = pytest.StashKey[dict[Session, int]]()  # with how much was sent before the test


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the ini file."""
    parser.addini(_INI, "the FastTask of the app under test, such as 'app:ft'", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and note each `ft.testing()` of a test."""
    opened = config.stash[_OPENED] = {}
    note = functools.partial(_note, opened)
    watchers.append(note)
    config.add_cleanup(lambda: watchers.remove(note))
    config.addinivalue_line(
        "markers",
        "fastask(run='inline', raise_errors=True, lifespan=True): what ft.testing() is told for "
        "the `tasks` fixture of this test; it gets the fixture even if it does not name it",
    )


@pytest.fixture
def tasks(request: pytest.FixtureRequest) -> Generator[Tasks | AsyncTasks, None, None]:
    """The tasks of this test, in memory: `Tasks`, or `AsyncTasks` in a coroutine function."""
    item = request.node
    options = _told(item)
    fast_task = _fast_task(request.config)
    try:
        testing = fast_task.testing(**options)
    except ValueError as error:
        raise _misfit(item, options, str(error)) from None
    with testing as entered:
        given: Tasks | AsyncTasks = entered
        if item.stash.get(_IS_ASYNC, False):
            given = AsyncTasks(entered.session)
        item.stash[_GIVEN] = given
        yield given


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Set `tasks` up before the other fixtures of a test, also where only the marker asks for it.

    So whatever they send is sent in memory. Fixtures of several tests stay outside.
    """
    opened = item.config.stash[_OPENED]
    opened.update({session: len(session.record.sent) for session in opened})
    if not isinstance(item, pytest.Function):
        return
    item.stash[_IS_ASYNC] = inspect.iscoroutinefunction(getattr(*_place(item)))
    # Private in pytest (9.0), and the only place that tells the scopes of a test's fixtures.
    known = item._fixtureinfo.name2fixturedefs
    if "tasks" in item.fixturenames:
        if not _is_ours(known.get("tasks", ())):
            return
    elif item.get_closest_marker("fastask") is None:
        return
    # A new list, since the tests of other parameters share this one.
    names = [name for name in item.fixturenames if name != "tasks"]
    own = (n for n, name in enumerate(names) if name in known and _is_own(known[name][-1]))
    names.insert(next(own, len(names)), "tasks")
    item.fixturenames = names


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Have the lifespan entered in the event loop of the test, if a coroutine fixture needs it."""
    given = request.node.stash.get(_GIVEN, None)
    function: Any = fixturedef.func
    has_end = inspect.isasyncgenfunction(function)
    is_async = has_end or inspect.iscoroutinefunction(function)
    if not is_async or not _is_own(fixturedef) or not isinstance(given, AsyncTasks):
        return (yield)
    session, replaced = given.session, _kept(function, given.session) if has_end else function
    with _having(fixturedef, "func", replaced), _having(session, "thread", threading.get_ident()):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Raise the errors that the test has not looked at, as part of the test."""
    with _within_lifespan(item):
        try:
            result = yield
        except BaseException as error:
            _explain(error)
            _check(item, error)
            raise
    _check(item, None)
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    """Leave a lifespan that a fixture's task has entered for a test that was not called."""
    try:
        given = item.stash.get(_GIVEN, None)
        if given is not None and given.session.loop not in given.session.keepers:
            _leave(given.session)
    finally:
        result = yield
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """List what was sent, where a test fails, and keep what it has forgotten to run."""
    report = yield
    opened = item.config.stash[_OPENED]
    if report.failed:
        lists = (listing(session.record, before) for session, before in opened.items())
        if sent := "\n".join(filter(None, lists)):
            report.sections.append(("fastask tasks", sent))
    if call.when == "teardown":
        given = item.stash.get(_GIVEN, None)
        if given is not None:
            if names := [sent.name for sent in given.session.runs.waiting]:
                setattr(report, _FORGOTTEN, names)  # which pytest-xdist passes on
            del item.stash[_GIVEN]  # items live as long as the run
        _forget(opened, 0)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the tests of `run="later"` that have sent tasks and not run them."""
    lines = [
        f"{report.nodeid}: {in_one_line(', '.join(names), _LONGEST)}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if (names := getattr(report, _FORGOTTEN, None))
    ]
    if lines:
        terminalreporter.section("fastask: sent with run='later' and never run")
        terminalreporter.write_line("\n".join(lines))


def _note(opened: dict[Session, int], session: Session) -> None:
    opened[session] = 0
    _forget(opened, _MOST_LEFT)


def _forget(opened: dict[Session, int], most: int) -> None:
    """Keep the last ones of those that were left, and what is of wider scopes."""
    left = [session for session in opened if session.is_left]
    for session in left[: max(0, len(left) - most)]:
        del opened[session]


def _check(item: pytest.Item, error: BaseException | None) -> None:
    given = item.stash.get(_GIVEN, None)  # also of a test that asks for the fixture in its body
    if given is not None:
        given.session.check(error)


def _explain(error: BaseException) -> None:
    """Have the error of a task of Taskiq's own name `ft.testing()`, as that of ours does."""
    if type(error) is not SendTaskError or (cause := error.__cause__) is None:
        return
    frames = [frame for frame, _ in walk_tb(cause.__traceback__)]
    kicks = [frame.f_globals["__name__"] for frame in frames if frame.f_code.co_name == "kick"]
    if kicks and "fastask.testing.runs" not in kicks:
        error.add_note("in a test, send within ft.testing()")


def _is_ours(fixturedefs: Sequence[pytest.FixtureDef[Any]]) -> bool:
    """Whether `tasks` is this plugin's, or is made of it: the project may have one of its own."""
    for fixturedef in reversed(fixturedefs):
        if fixturedef.func.__module__ == __name__:
            return True
        if "tasks" not in fixturedef.argnames:
            return False
    return True


def _is_own(fixturedef: pytest.FixtureDef[Any]) -> bool:
    """Whether each test has one of its own of a fixture."""
    return fixturedef.scope == "function"


def _place(item: Any) -> tuple[Any, str]:
    """Give the object and the attribute that hold the test function."""
    inner = getattr(item.obj, "hypothesis", None)
    return (item, "obj") if inner is None else (inner, "inner_test")


@contextmanager
def _within_lifespan(item: Any) -> Iterator[None]:
    """Have a coroutine function run within the lifespan, in one event loop, by any plugin."""
    given, instance = item.stash.get(_GIVEN, None), getattr(item, "instance", None)
    if not isinstance(given, AsyncTasks):
        yield
        return
    if isinstance(instance, IsolatedAsyncioTestCase):
        _serve_case(instance, given.session)
        yield
        return
    owner, name = _place(item)
    # The item may be run again, with another session.
    with _having(owner, name, _served(getattr(owner, name), given.session)):
        yield


@contextmanager
def _having(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Have another value as an attribute."""
    former = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, former)


def _served(test: Callable[..., Awaitable[Any]], session: Session) -> Any:
    """Give a coroutine function that enters and leaves the lifespan around a test."""

    @functools.wraps(test)
    async def served(*args: Any, **kwargs: Any) -> Any:
        loop = this_loop()
        if session.loop not in (None, loop):
            # That of a fixture, which stands still while the test runs.
            await asyncio.to_thread(_leave, session)
        await session.enter_lifespan()
        leave = session.settle if loop in session.keepers else session.leave_lifespan
        try:
            result = await test(*args, **kwargs)
        except BaseException as error:
            await leave(error)
            raise
        await leave()
        session.check(None)
        return result

    return served


def _serve_case(case: IsolatedAsyncioTestCase, session: Session) -> None:
    """Have the lifespan entered before `asyncSetUp`, and left after all that ends a test."""
    set_up = case.asyncSetUp

    async def entered() -> None:
        await session.enter_lifespan()
        await set_up()

    setattr(case, "asyncSetUp", entered)  # noqa: B010 - on this instance alone
    case.addAsyncCleanup(session.leave_lifespan)  # the first one is the last to be called


def _kept(function: Any, session: Session) -> Any:
    """Give a fixture whose end may send tasks: the last one to end leaves the lifespan."""
    inner = getattr(function, "__func__", function)

    @functools.wraps(inner)
    async def kept(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        loop = this_loop()
        session.keepers.append(loop)
        try:
            async with aclosing(inner(*args, **kwargs)) as values:
                async for value in values:
                    yield value
                    session.thread = threading.get_ident()
        finally:
            session.thread = None
            session.keepers.remove(loop)
            if session.loop is loop and loop not in session.keepers:
                await session.leave_lifespan()

    return kept if inner is function else MethodType(kept, function.__self__)


def _leave(session: Session) -> None:
    """Leave the lifespan in an event loop that stands still, if it was entered in one."""
    loop = session.loop
    if loop is not None and not loop.is_running() and not loop.is_closed():
        loop.run_until_complete(session.leave_lifespan())


def _fast_task(config: pytest.Config) -> Any:
    from fastask.app import FastTask  # noqa: PLC0415 - only where it is used

    path: str = config.getini(_INI)
    module, colon, attribute = path.partition(":")
    if not (module and colon and attribute):
        raise pytest.UsageError(
            f"{_INI} is {path!r}; name the FastTask of the app in the pytest configuration: "
            f'{_INI} = "app:ft"'
        )
    try:
        found: Any = _imported(module, config)
        for name in attribute.split("."):
            found = getattr(found, name)
    except Exception as error:
        raise pytest.UsageError(
            f"{_INI} = {path!r} can't be had ({type(error).__name__}: {error}); check the name, "
            "and that pytest's pythonpath has the folder of the module"
        ) from error
    if not isinstance(found, FastTask):
        raise pytest.UsageError(
            f"{_INI} = {path!r} is a {type(found).__name__}; name the FastTask of the app"
        )
    return found


def _imported(module: str, config: pytest.Config) -> Any:
    """Import a module, from the root folder of the tests if it is nowhere else."""
    root = str(config.rootpath)
    top = module.partition(".")[0]
    if top not in sys.modules and root not in sys.path and importlib.util.find_spec(top) is None:
        sys.path.insert(0, root)
        config.add_cleanup(lambda: sys.path.remove(root) if root in sys.path else None)
    return importlib.import_module(module)


def _told(item: pytest.Item) -> dict[str, Any]:
    """What the markers of a test, its class and its module say; the closest one wins."""
    options: dict[str, Any] = {}
    for marker in item.iter_markers("fastask"):
        if marker.args or not marker.kwargs.keys() <= set(_OPTIONS):
            told = f"it takes {', '.join(_OPTIONS)}, by keyword"
            raise _misfit(item, marker.kwargs, told, marker.args)
        options = {**marker.kwargs, **options}
    return options


def _misfit(
    item: pytest.Item, options: Mapping[str, Any], told: str, args: tuple[Any, ...] = ()
) -> pytest.UsageError:
    given = ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in options.items())])
    return pytest.UsageError(f"@pytest.mark.fastask({given}) of {item.nodeid}: {told}")
