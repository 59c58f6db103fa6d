"""The errors: their parts, their words, and how they travel."""

import inspect
import json
import pickle
from typing import Any

import pytest
from fastapi import FastAPI

import fastask
from fastask import FastTask, exceptions
from fastask.brokers import broker_from

EXAMPLES: list[tuple[type[exceptions.FastaskError], tuple[Any, ...], dict[str, Any], str]] = [
    (
        exceptions.AppImportError,
        ("app:app", "no module named 'app'"),
        {"app": "app:app", "reason": "no module named 'app'"},
        "FastTask('app:app'): no module named 'app'",
    ),
    (
        exceptions.BrokerURLError,
        ("redis", "not yet"),
        {"scheme": "redis", "reason": "not yet"},
        "broker URL 'redis://': not yet",
    ),
    (
        exceptions.TaskOptionError,
        ("timeut", "unknown"),
        {"option": "timeut", "reason": "unknown"},
        "ft.task option 'timeut': unknown",
    ),
    (
        exceptions.DuplicateTaskError,
        ("name", "a.py:1", "b.py:2"),
        {"name": "name", "first": "a.py:1", "second": "b.py:2"},
        'is taken by the task at a.py:1; give one of them another name: @ft.task("other:name")',
    ),
    (
        exceptions.EmbeddedBrokerError,
        (),
        {},
        (
            "the embedded broker runs its tasks in the web process, so no worker can serve it; "
            "give FastTask a broker, such as 'sqlite:///tasks.db', to run tasks in workers"
        ),
    ),
    (
        exceptions.UnboundTaskError,
        ("a:b", "belongs to no program"),
        {"task": "a:b", "reason": "belongs to no program"},
        "task 'a:b' belongs to no program",
    ),
    (
        exceptions.RouterIncludedError,
        ("a TaskRouter is included twice",),
        {"reason": "a TaskRouter is included twice"},
        "a TaskRouter is included twice",
    ),
    (
        exceptions.UnknownTaskError,
        ("shop:sendd", ["shop:send", "shop:end"]),
        {"task": "shop:sendd", "near": ("shop:send", "shop:end")},
        (
            "no task is named 'shop:sendd' here (did you mean 'shop:send' or 'shop:end'?); "
            "import its module in the app, or start a worker that has it"
        ),
    ),
    (
        exceptions.UnknownTaskError,
        ("shop:sendd", []),
        {"near": ()},
        (
            "no task is named 'shop:sendd' here; "
            "import its module in the app, or start a worker that has it"
        ),
    ),
    (
        exceptions.DependencyError,
        (["task", "pool", "get_pool"], "it has no default", "give it one"),
        {"chain": ("task", "pool", "get_pool"), "reason": "it has no default"},
        "task -> pool -> get_pool: it has no default; give it one",
    ),
    (
        exceptions.UnresolvableTasksError,
        (["a -> b: no", "c -> d: no"],),
        {"problems": ("a -> b: no", "c -> d: no")},
        "\n  - a -> b: no\n  - c -> d: no",
    ),
    (
        exceptions.InvalidArgumentsError,
        ("task", [{"type": "int", "loc": ["n", 0], "msg": "Wrong", "got": "str"}]),
        {"task": "task"},
        "task 'task': n.0: Wrong (got str)",
    ),
    (
        exceptions.InvalidArgumentsError,
        ("task", [{"type": "int", "loc": ["n", 0], "msg": "Wrong", "got": "str"}] * 7, 999_999),
        {"task": "task", "more": 999_999},
        "n.0: Wrong (got str); n.0: Wrong (got str); and 1000001 more",
    ),
    (
        exceptions.InvalidMessageError,
        ("shop:send", "args: Field required"),
        {"task": "shop:send", "reason": "args: Field required"},
        (
            "the message for task 'shop:send' can't be used: args: Field required; "
            "send it as Taskiq's kicker does"
        ),
    ),
    (
        exceptions.InvalidMessageError,
        ("", "it can't be decoded (ValueError)"),
        {"task": ""},
        (
            "the message can't be used: it can't be decoded (ValueError); "
            "send it as Taskiq's kicker does"
        ),
    ),
    (
        exceptions.InvalidResultError,
        ("task", "Wrong (got str)"),
        {"task": "task", "reason": "Wrong (got str)"},
        "task 'task' returned what its annotation does not allow: Wrong (got str)",
    ),
    (
        exceptions.ResultTimeoutError,
        ("id", 1.5),
        {"task_id": "id", "timeout": 1.5},
        "no result of task id within 1.5 s; is a worker running?",
    ),
    (
        exceptions.NoHTTPBodyError,
        ("body()",),
        {"what": "body()"},
        "a task has no HTTP body; pass what the task needs as an argument of the task",
    ),
    (
        exceptions.NotSentError,
        ("a:b", "RedisStreamBroker", "ConnectionError: refused"),
        {"task": "a:b", "broker": "RedisStreamBroker", "reason": "ConnectionError: refused"},
        "did not take it (ConnectionError: refused); check that its server runs and can be reached",
    ),
    (
        exceptions.BrokerUnavailableError,
        ("redis://localhost", "ConnectionError: refused"),
        {"address": "redis://localhost", "reason": "ConnectionError: refused"},
        (
            "redis://localhost can't be used (ConnectionError: refused); "
            "start it, or add wait=60 to the URL's query to have it waited for"
        ),
    ),
    (
        exceptions.DeadLetterError,
        ("a:b", 5),
        {"task": "a:b", "attempts": 5},
        (
            "task 'a:b' was started 5 times and never came to an end, as if it killed its "
            "worker; it is kept as a dead letter and is not run again"
        ),
    ),
    (
        exceptions.NoResultsError,
        ("amqp",),
        {"broker": "amqp"},
        (
            "amqp:// keeps no results; name where they are to be kept, such as "
            "FastTask(..., results='redis://localhost')"
        ),
    ),
    (
        exceptions.StorageError,
        ("tasks.db", "the disk is full"),
        {"path": "tasks.db", "reason": "the disk is full"},
        "tasks.db: the disk is full",
    ),
    (
        exceptions.TaskLoopError,
        (["a:ping", "a:pong", "a:ping"],),
        {"names": ("a:ping", "a:pong", "a:ping")},
        "an end: 'a:ping' -> 'a:pong' -> 'a:ping'; end it, or give a higher limit",
    ),
    (
        exceptions.TaskLoopError,
        (["a:ping"],),
        {"names": ("a:ping",)},
        "there are more tasks to run than the limit, such as 'a:ping'; give a higher one",
    ),
    (
        exceptions.TaskNotRunError,
        ("a:ping", "succeeded"),
        {"task": "a:ping", "state": "succeeded"},
        "task 'a:ping' has no result, as it is succeeded; it raised NoResultError",
    ),
    (
        exceptions.TaskNotRunError,
        ("a:ping", "waiting"),
        {"task": "a:ping", "state": "waiting"},
        "no result, as it is waiting; run it before, as with tasks.run_all() and run='later'",
    ),
    (
        exceptions.RemoteError,
        ("shop:SoldOutError", "no cups"),
        {"type": "shop:SoldOutError", "text": "no cups"},
        "the task raised shop.SoldOutError: no cups",
    ),
]
CLASSES = [example[0] for example in EXAMPLES]


def test_every_error_has_an_example() -> None:
    """No error of the module is left out of these tests."""
    defined = {
        value
        for _, value in inspect.getmembers(exceptions, inspect.isclass)
        if issubclass(value, exceptions.FastaskError)
    }
    assert defined - {exceptions.FastaskError} == set(CLASSES)
    assert {error.__name__ for error in defined} == set(exceptions.__all__)


@pytest.mark.parametrize("name", exceptions.__all__)
def test_exported(name: str) -> None:
    """Every error can be imported from the package."""
    assert name in fastask.__all__
    assert getattr(fastask, name) is getattr(exceptions, name)


@pytest.mark.parametrize(("kind", "args", "attributes", "told"), EXAMPLES)
def test_parts_and_words(
    kind: Any, args: tuple[Any, ...], attributes: dict[str, Any], told: str
) -> None:
    """An error keeps its parts and renders them."""
    error = kind(*args)
    assert {name: getattr(error, name) for name in attributes} == attributes
    assert str(error).endswith(told)


@pytest.mark.parametrize(("kind", "args", "attributes", "told"), EXAMPLES)
@pytest.mark.parametrize("way", ["pickle", "args", "JSON"])
def test_travels(
    kind: Any, args: tuple[Any, ...], attributes: dict[str, Any], told: str, way: str
) -> None:
    """An error arrives as itself, by pickle and from its arguments as JSON."""
    error = kind(*args)
    if way == "pickle":
        arrived = pickle.loads(pickle.dumps(error))
    elif way == "args":
        arrived = kind(*error.args)
    else:
        arrived = kind(*json.loads(json.dumps(error.args)))
    assert type(arrived) is kind
    assert str(arrived) == str(error)
    assert {name: getattr(arrived, name) for name in attributes} == attributes
    assert arrived.args == error.args


LONG = "x" * 100_000


@pytest.mark.parametrize(
    "error",
    [
        exceptions.DuplicateTaskError(LONG, "a.py:1", "b.py:2"),
        exceptions.UnknownTaskError(LONG, [LONG]),
        exceptions.InvalidMessageError(LONG, "wrong"),
        exceptions.InvalidArgumentsError(
            LONG, [{"type": "t", "loc": ["n", LONG, LONG], "msg": LONG, "got": "str"}] * 20
        ),
    ],
    ids=lambda error: type(error).__name__,
)
def test_names_of_any_length_are_told_in_short(error: exceptions.FastaskError) -> None:
    """What another client has sent does not fill a log."""
    assert len(str(error)) < 3000
    assert "... (" in str(error)


def test_names_stay_in_their_line() -> None:
    """A name that is no text to print is written as Python writes it."""
    problem = {"type": "t", "loc": ["a\nERROR: b\ud800"], "msg": "Wrong", "got": ""}
    error = exceptions.InvalidArgumentsError("task", [problem])
    assert str(error) == r"task 'task': a\nERROR: b\ud800: Wrong"


@pytest.mark.parametrize("kind", CLASSES)
def test_documented(kind: type[BaseException]) -> None:
    """Each error says when it is raised."""
    assert inspect.getdoc(kind) != inspect.getdoc(exceptions.FastaskError)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (exceptions.BrokerURLError, ValueError),
        (exceptions.BrokerUnavailableError, ConnectionError),
        (exceptions.StorageError, OSError),
        (exceptions.TaskOptionError, TypeError),
        (exceptions.InvalidArgumentsError, TypeError),
        (exceptions.ResultTimeoutError, TimeoutError),
    ],
)
def test_is_the_builtin_that_people_catch(kind: type, builtin: type) -> None:
    """Errors are also what Python raises in such a place."""
    assert issubclass(kind, builtin)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hunter2@localhost:6379/0?qeue=a",
        "redis://user:hunter2@localhost:port",
        "kafka://user:hunter2@/",
        "amqp://localhost?hunter2",
        "redis+sentinel://:hunter2@host",
        "hunter2@localhost",
        "localhost:hunter2",
        "redis://:hunter2@[::1?deadline=0",
    ],
)
def test_no_password(url: str) -> None:
    """The password of a URL is in no error."""
    with pytest.raises(exceptions.BrokerURLError) as caught:
        FastTask(FastAPI(), url)
    assert "hunter2" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("broker", [5, b"memory://", object])
def test_broker_that_is_none(broker: Any) -> None:
    """An object that is no broker is told by its type."""
    with pytest.raises(TypeError, match=type(broker).__name__):
        broker_from(broker)
