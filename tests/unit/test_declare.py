"""Declaring tasks: forms, names, options, and one place for each name."""

import importlib
import inspect
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from taskiq import AsyncTaskiqDecoratedTask, InMemoryBroker, TaskiqDepends

from fastask import DuplicateTaskError, FastTask, Task, TaskOptionError, TaskRouter
from tests.unit.conftest import WriteModule
from tests.unit.doubles import RecordingBroker, one_sentence, program


@pytest.fixture
def ft() -> FastTask:
    return FastTask(FastAPI())


async def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


def double(n: int) -> int:
    """Double a number."""
    return 2 * n


def effect() -> None:
    """A dependency for its effect."""


def line_of(func: Any) -> str:
    return f"{__file__}:{func.__code__.co_firstlineno}"


def test_bare_form(ft: FastTask) -> None:
    """`@ft.task` names the task as Taskiq does and registers it."""
    task = ft.task(add)
    assert isinstance(task, Task)
    assert task.task_name == f"{__name__}:add"
    assert ft.broker.find_task(task.task_name) is task
    assert task.labels == {}


def test_name_is_taskiqs(ft: FastTask) -> None:
    """The default name is the one that a plain Taskiq broker gives."""

    def inner() -> None: ...

    assert ft.task(inner).task_name == InMemoryBroker().register_task(inner_copy()).task_name


def inner_copy() -> Any:
    def inner() -> None: ...

    return inner


def test_called_form(ft: FastTask) -> None:
    """`@ft.task()` is the bare form."""
    assert ft.task()(add).task_name == f"{__name__}:add"


@pytest.mark.parametrize("options", [{}, {"timeout": 3}])
def test_named_form(ft: FastTask, options: dict[str, Any]) -> None:
    """`@ft.task("name", ...)` names the task."""
    task = ft.task("mail:send", **options)(add)
    assert task.task_name == "mail:send"
    assert ft.broker.find_task("mail:send") is task
    assert task.labels == options


def test_options_in_the_bare_form(ft: FastTask) -> None:
    """Options beside the function are refused with the way to write them."""
    declare: Any = ft.task
    with pytest.raises(TaskOptionError) as caught:
        declare(add, timeout=3)
    assert one_sentence(caught.value, "'timeout'", "task(...)(function)")


@pytest.mark.parametrize(
    ("option", "near"),
    [("timeut", "timeout"), ("dependancies", "dependencies"), ("label", "labels")],
)
def test_unknown_option_near_a_known_one(ft: FastTask, option: str, near: str) -> None:
    """A misspelled option is refused where it is written, with the near name."""
    declare: Any = ft.task
    with pytest.raises(TaskOptionError) as caught:
        declare(**{option: 1})
    assert one_sentence(caught.value, repr(option), f"did you mean {near!r}")
    assert caught.value.option == option


def test_unknown_option(ft: FastTask) -> None:
    """An option like none is told where labels go."""
    declare: Any = ft.task
    with pytest.raises(TaskOptionError) as caught:
        declare(queue="mail")
    assert one_sentence(caught.value, "'queue'", "labels={'queue': ...}")


def test_name_by_keyword(ft: FastTask) -> None:
    """The name may be given by keyword; twice is an error."""
    assert ft.task(name="mail:send")(add).task_name == "mail:send"
    with pytest.raises(TaskOptionError) as caught:
        ft.task("mail:send", name="other")
    assert one_sentence(caught.value, "'name'", "twice")


def test_name_as_an_option(ft: FastTask) -> None:
    """Taskiq's word for the name is told to go first."""
    declare: Any = ft.task
    with pytest.raises(TaskOptionError) as caught:
        declare(task_name="mail:send")
    assert one_sentence(caught.value, 'ft.task("name")')


@pytest.mark.parametrize("wrong", ["", 5, b"name"])
def test_name_that_is_none(ft: FastTask, wrong: Any) -> None:
    """A name is a string with something in it."""
    with pytest.raises(TaskOptionError) as caught:
        ft.task(wrong)
    assert one_sentence(caught.value, "'name'", repr(wrong))


def test_labels(ft: FastTask) -> None:
    """Labels and the timeout become Taskiq's labels, in a dict of the task's own."""
    labels = {"queue": "mail", "priority": 3}
    task = ft.task(timeout=1.5, labels=labels)(add)
    labels["queue"] = "other"
    assert task.labels == {"queue": "mail", "priority": 3, "timeout": 1.5}


def test_labels_are_a_mapping(ft: FastTask) -> None:
    """Labels that are no mapping are refused."""
    declare: Any = ft.task
    with pytest.raises(TaskOptionError) as caught:
        declare(labels=["queue"])
    assert one_sentence(caught.value, "'labels'", "mapping")


@pytest.mark.parametrize("timeout", [0, -1, True, "5", float("nan")])
def test_bad_timeout(ft: FastTask, timeout: Any) -> None:
    """A timeout is a number of seconds above 0."""
    with pytest.raises(TaskOptionError) as caught:
        ft.task(timeout=timeout)
    assert one_sentence(caught.value, "'timeout'", "seconds above 0", repr(timeout))


@pytest.mark.parametrize("timeout", [1, 0.5, None])
def test_good_timeout(ft: FastTask, timeout: float | None) -> None:
    """Whole and broken seconds are taken; nothing is no label."""
    expected = {} if timeout is None else {"timeout": timeout}
    assert ft.task(timeout=timeout)(add).labels == expected


def test_timeout_twice(ft: FastTask) -> None:
    """A timeout in labels and as an option is a contradiction."""
    with pytest.raises(TaskOptionError) as caught:
        ft.task(timeout=1, labels={"timeout": 2})
    assert one_sentence(caught.value, "'timeout'", "labels too")


@pytest.mark.parametrize("entry", [effect, Depends(), TaskiqDepends(effect), 5])
def test_dependencies_that_are_no_markers(ft: FastTask, entry: Any) -> None:
    """An entry of `dependencies` that is no `Depends(something)` is refused."""
    with pytest.raises(TaskOptionError) as caught:
        ft.task(dependencies=[entry])(add)
    assert one_sentence(caught.value, "'dependencies'", "Depends(...)")
    with pytest.raises(TaskOptionError):
        FastTask(FastAPI(), dependencies=[entry])
    with pytest.raises(TaskOptionError):
        TaskRouter(dependencies=[entry])


def test_dependencies_without_a_list(ft: FastTask) -> None:
    """A single marker in place of a list is refused with a sentence."""
    dependencies: Any = Depends(effect)
    with pytest.raises(TaskOptionError) as caught:
        ft.task(dependencies=dependencies)(add)
    assert one_sentence(caught.value, "'dependencies'")


async def test_dependencies_are_resolved_outer_first() -> None:
    """Dependencies of the program come before those of the router and of the task."""
    order: list[str] = []

    def note(name: str) -> Any:
        return Depends(lambda: order.append(name))

    ft, _ = program(dependencies=[note("program")])
    router = TaskRouter(dependencies=[note("router")])

    @router.task(dependencies=[note("task 1"), note("task 2")])
    async def noted() -> None:
        order.append("body")

    ft.include_router(router)
    await noted.run()
    assert order == ["program", "router", "task 1", "task 2", "body"]


def test_duplicate(ft: FastTask) -> None:
    """A name that is used twice is refused, with both places."""
    ft.task("same")(add)
    with pytest.raises(DuplicateTaskError) as caught:
        ft.task("same")(double)
    error = caught.value
    assert (error.name, error.first, error.second) == ("same", line_of(add), line_of(double))
    assert one_sentence(error, "'same'", line_of(add), line_of(double))
    found = ft.broker.find_task("same")
    assert isinstance(found, Task)
    assert found.func is add


def test_duplicate_of_a_plain_task() -> None:
    """A plain task of the broker keeps its name too."""
    broker = RecordingBroker()

    def plain() -> None: ...

    first = line_of(plain)
    registered = broker.register_task(plain, "same")
    ft = FastTask(FastAPI(), broker)
    with pytest.raises(DuplicateTaskError) as caught:
        ft.task("same")(add)
    assert caught.value.first == first
    assert broker.find_task("same") is registered


def test_duplicate_through_a_router(ft: FastTask) -> None:
    """A router's task is refused when it is included, if its name is taken."""
    router = TaskRouter()
    router.task("same")(double)
    ft.task("same")(add)
    with pytest.raises(DuplicateTaskError) as caught:
        ft.include_router(router)
    assert caught.value.second == line_of(double)


def test_same_name_on_two_brokers() -> None:
    """Two programs may use one name."""
    one, other = FastTask(FastAPI()), FastTask(FastAPI())
    assert one.task("same")(add).broker is not other.task("same")(double).broker


def test_reloaded_module(write_module: WriteModule) -> None:
    """A module that is loaded again may declare its tasks again; the newest counts."""
    write_module("kept_program", "from fastapi import FastAPI\nfrom fastask import FastTask\n")
    text = "from kept_program import ft\n@ft.task\nasync def again() -> None: ...\n"
    write_module("reloaded_tasks", text)
    kept = importlib.import_module("kept_program")
    kept.ft = FastTask(FastAPI())  # type: ignore[attr-defined]
    module = importlib.import_module("reloaded_tasks")
    first = module.again
    importlib.reload(module)
    assert module.again is not first
    assert kept.ft.broker.find_task("reloaded_tasks:again") is module.again


@pytest.mark.parametrize("call", [lambda n: n, partial(add, 1)])
def test_no_name_of_its_own(ft: FastTask, call: Any) -> None:
    """A lambda or a partial needs a name."""
    with pytest.raises(TaskOptionError) as caught:
        ft.task(call)
    assert one_sentence(caught.value, "has no name", 'ft.task("name")')


class Adder:
    """An instance that can be called."""

    async def __call__(self, n: int) -> int:
        return n + 1


@pytest.mark.parametrize(
    ("call", "expected"), [(lambda n: n, 4), (partial(add, 1), 5), (Adder(), 5)]
)
async def test_named_lambda_partial_and_instance(ft: FastTask, call: Any, expected: int) -> None:
    """With a name, whatever can be called is a task."""
    task = ft.task("named")(call)
    assert await task.run(4) == expected
    sent = await task.kiq(4)
    assert await sent.result(timeout=1) == expected


def numbers() -> Iterator[int]:
    yield 1


async def async_numbers() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("func", [numbers, async_numbers])
def test_generators(ft: FastTask, func: Any) -> None:
    """A generator function is no task."""
    with pytest.raises(TaskOptionError) as caught:
        ft.task(func)
    assert one_sentence(caught.value, func.__name__, "generator")
    assert ft.broker.get_all_tasks() == {}


@pytest.mark.parametrize("func", [add, double])
def test_looks_like_the_function(ft: FastTask, func: Any) -> None:
    """A task keeps the name, the words and the signature of its function."""
    name, qualname = func.__name__, func.__qualname__
    task: Any = ft.task(func)
    assert (task.__name__, task.__qualname__, task.__module__) == (name, qualname, __name__)
    assert task.__doc__ == func.__doc__
    assert task.__wrapped__ is task.func is func
    assert inspect.signature(task) == inspect.signature(func)
    assert repr(task).endswith(f"Task('{__name__}:{name}')")


def test_function_is_left_alone(ft: FastTask) -> None:
    """The function keeps its name, and its module gets no second one."""
    before = dict(vars(sys.modules[__name__]))
    ft.task(add)
    assert add.__name__ == "add"
    assert dict(vars(sys.modules[__name__])) == before


async def test_call(ft: FastTask) -> None:
    """Calling a task calls the plain function, with what the caller passes."""
    assert await ft.task(add)(1, b=5) == 6
    assert ft.task(double)(4) == 8
    assert not inspect.iscoroutine(ft.task("again")(double)(4))


def test_attributes_of_taskiqs_own_task(ft: FastTask) -> None:
    """A task has every instance attribute that Taskiq's own has."""

    def plain() -> None: ...

    taskiqs: Mapping[str, Any] = vars(RecordingBroker().register_task(plain, "plain"))
    ours = vars(ft.task(add))
    new = sorted(set(taskiqs) - set(ours))
    assert not new, f"Taskiq's decorated task has new attributes; set them in Task.__init__: {new}"
    assert isinstance(ft.task("other")(add), AsyncTaskiqDecoratedTask)


def test_reused_decorator(ft: FastTask) -> None:
    """One decorator for two functions gives two names and two sets of labels."""
    declare = ft.task(labels={"queue": "mail"})
    one, other = declare(add), declare(double)
    assert [one.task_name, other.task_name] == [f"{__name__}:add", f"{__name__}:double"]
    one.labels["queue"] = "changed"
    assert other.labels == {"queue": "mail"}


def test_reused_decorator_with_a_name(ft: FastTask) -> None:
    """One named decorator for two functions is a duplicate."""
    declare = ft.task("same")
    declare(add)
    with pytest.raises(DuplicateTaskError):
        declare(double)
