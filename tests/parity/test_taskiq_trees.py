"""Trees of Taskiq's own markers give what Taskiq's own resolver gives.

Where they do not, on purpose, `differences.py` says so.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any, Generic, TypeVar

import pytest
from fastapi import Depends
from hypothesis import given, note, settings
from taskiq import Context, TaskiqDepends, TaskiqState
from taskiq.depends.progress_tracker import ProgressTracker, TaskState
from taskiq_dependencies import ParamInfo

from tests.parity import taskiq_trees
from tests.parity.runs import Answer
from tests.parity.taskiq_trees import by_fastask, by_taskiq

# Taskiq throws errors into generators by a signature that Python 3.12 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.*signature of a?throw:DeprecationWarning")

_EXAMPLES = os.environ.get("PARITY_EXAMPLES")

T = TypeVar("T")
K = TypeVar("K")


async def both(
    function: Callable[..., Any], log: list[Any] | None = None, context: Any = None
) -> tuple[Answer, Answer]:
    """Run a function by Taskiq and by fastask."""
    log = [] if log is None else log
    made = []
    for run in (by_taskiq, by_fastask):
        log.clear()
        answer = await run(function, context)
        made.append(Answer(answer.value, answer.error, list(log)))
    return made[0], made[1]


async def same(
    function: Callable[..., Any], log: list[Any] | None = None, context: Any = None
) -> Answer:
    """Run a function by both; they must agree."""
    taskiq, fastask = await both(function, log, context)
    assert fastask == taskiq
    return fastask


@settings(
    max_examples=int(_EXAMPLES or 100),
    derandomize=_EXAMPLES is None,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
)
@given(taskiq_trees.trees())
async def test_tree_is_resolved_as_by_taskiq(tree: taskiq_trees.TaskiqTree) -> None:
    """Values, calls and the outcome are Taskiq's; what is open is closed in reverse order."""
    note(taskiq_trees.source(tree))
    results = []
    for run in (by_taskiq, by_fastask):
        function, notes = taskiq_trees.build(tree)
        answer = await run(function)
        results.append((answer, sorted(notes.calls, key=repr)))
        seen = " saw task" if tree.fails else ""
        assert notes.closed == [token + seen for token in reversed(notes.opened)]
    assert results[1] == results[0]


class User:
    name = "user"


class Item:
    name = "item"


class Repository(Generic[T]):
    def __init__(self, model: T = TaskiqDepends()) -> None:
        self.model = model


class Pair(Generic[T, K]):
    def __init__(self, left: Annotated[T, TaskiqDepends()], right: K = TaskiqDepends()) -> None:
        self.left = left
        self.right = right


async def test_generic_classes() -> None:
    """Type variables of a generic class are resolved to what stands in the brackets."""

    async def task(
        users: Repository[User] = TaskiqDepends(),
        items: Annotated[Repository[Item] | None, TaskiqDepends(Repository[Item])] = None,
        same_users: Repository[User] = TaskiqDepends(),
        pair: Pair[Item, User] = TaskiqDepends(),
    ) -> Any:
        assert items is not None
        names: list[Any] = [users.model, items.model, pair.left, pair.right]
        return [*[one.name for one in names], same_users is users, pair.right is users.model]

    assert (await same(task)).value == ["user", "item", "item", "user", True, True]


async def test_param_info() -> None:
    """A dependency learns for which parameter it is."""

    def inner(info: ParamInfo = TaskiqDepends()) -> Any:
        return [info.name, str(info.definition)]

    def outer(below: Any = TaskiqDepends(inner), info: ParamInfo = TaskiqDepends()) -> Any:
        return [below, info.name, str(info.definition)]

    async def task(one: Any = TaskiqDepends(outer), other: Any = Depends(outer)) -> Any:
        return [one, other]

    answer = await same(task)
    assert [value[1] for value in answer.value] == ["one", "one"]
    assert answer.value[0][0][0] == "below"


async def test_param_info_of_an_uncached_dependency() -> None:
    """It is told its parameter as well; Taskiq tells it nothing."""

    def made(info: ParamInfo = TaskiqDepends()) -> Any:
        return [info.name, info.definition is not None]

    async def task(value: Any = TaskiqDepends(made, use_cache=False)) -> Any:
        return value

    taskiq, fastask = await both(task)
    assert (taskiq.value, fastask.value) == (["", False], ["value", True])


async def test_kwargs() -> None:
    """Equal `kwargs` share one value, hashable or not; others have their own."""
    log: list[Any] = []

    def made(tag: Any = 0, other: str = "o") -> Any:
        log.append(tag)
        return [tag, other]

    async def task(
        a: Any = TaskiqDepends(made, kwargs={"tag": 1}),
        b: Any = TaskiqDepends(made, kwargs={"tag": 1}),
        c: Any = TaskiqDepends(made, kwargs={"tag": [2]}),
        d: Any = TaskiqDepends(made, kwargs={"tag": [2]}),
        e: Any = TaskiqDepends(made, kwargs={"tag": 1, "other": "p"}),
    ) -> Any:
        return [a, b, c, d, e]

    answer = await same(task, log)
    assert answer.value == [[1, "o"], [1, "o"], [[2], "o"], [[2], "o"], [1, "p"]]
    assert answer.log == [1, [2], 1]


async def test_kwargs_beside_a_use_without_them() -> None:
    """Both are called; Taskiq forgets the `kwargs` if the other use comes first."""

    def made(tag: int = 0) -> int:
        return tag

    async def task(
        plain: int = TaskiqDepends(made), tagged: int = TaskiqDepends(made, kwargs={"tag": 1})
    ) -> Any:
        return [plain, tagged]

    taskiq, fastask = await both(task)
    assert (taskiq.value, fastask.value) == ([0, 0], [0, 1])


async def test_kwargs_for_a_parameter_with_a_marker() -> None:
    """The fixed argument is used; Taskiq resolves the marker in its place."""

    def below() -> str:
        return "resolved"

    def made(value: str = TaskiqDepends(below)) -> str:
        return value

    async def task(value: str = TaskiqDepends(made, kwargs={"value": "fixed"})) -> str:
        return value

    taskiq, fastask = await both(task)
    assert (taskiq.value, fastask.value) == ("resolved", "fixed")


async def test_uncached_subtree() -> None:
    """What an uncached dependency needs comes from the cache, as in FastAPI."""
    log: list[Any] = []

    def counted() -> int:
        log.append("counted")
        return len(log)

    def above(value: int = TaskiqDepends(counted)) -> int:
        return value

    async def task(
        first: int = TaskiqDepends(counted), second: int = TaskiqDepends(above, use_cache=False)
    ) -> Any:
        return [first, second]

    taskiq, fastask = await both(task, log)
    assert (taskiq.value, fastask.value) == ([1, 2], [1, 1])


@pytest.mark.parametrize("fails", [False, True])
async def test_context_managers(fails: bool) -> None:
    """Functions of both decorators are entered, and left with the task's error."""
    log: list[Any] = []

    @asynccontextmanager
    async def outer() -> AsyncIterator[str]:
        log.append("+outer")
        try:
            yield "outer"
        except ValueError as error:
            log.append(f"outer saw {error}")
            raise
        finally:
            log.append("-outer")

    @contextmanager
    def inner(name: str = TaskiqDepends(outer)) -> Iterator[str]:
        log.append("+inner")
        try:
            yield f"inner of {name}"
        finally:
            log.append("-inner")

    async def task(name: str = TaskiqDepends(inner)) -> str:
        if fails:
            raise ValueError("task")
        return name

    answer = await same(task, log)
    assert answer.error == (("ValueError", "task") if fails else None)
    assert answer.log[:3] == ["+outer", "+inner", "-inner"]


async def test_error_of_a_teardown() -> None:
    """It fails the task and outer generators see it; Taskiq logs it and goes on."""
    log: list[Any] = []

    def outer() -> Iterator[None]:
        try:
            yield
        except Exception as error:
            log.append(str(error))
            raise

    async def inner(needed: Any = TaskiqDepends(outer)) -> AsyncIterator[None]:
        try:
            yield
        except ValueError:
            raise RuntimeError("teardown") from None

    async def task(needed: Any = TaskiqDepends(inner)) -> None:
        raise ValueError("task")

    taskiq, fastask = await both(task, log)
    assert (taskiq.error, taskiq.log) == (("ValueError", "task"), ["task"])
    assert (fastask.error, fastask.log) == (("RuntimeError", "teardown"), ["teardown"])


class Counter:
    def __init__(self, tracker: ProgressTracker[int] = TaskiqDepends()) -> None:
        self.tracker = tracker


async def test_what_taskiq_provides() -> None:
    """`Context`, `TaskiqState` and `ProgressTracker` are those of the message."""

    def task_name(context: Context = TaskiqDepends()) -> str:
        return context.message.task_name

    async def task(
        context: Annotated[Context, TaskiqDepends()],
        state: TaskiqState = TaskiqDepends(),
        tracker: ProgressTracker[int] = TaskiqDepends(),
        counter: Counter = TaskiqDepends(),
        name: str = TaskiqDepends(task_name),
    ) -> Any:
        await counter.tracker.set_progress(TaskState.STARTED, 3)
        progress = await tracker.get_progress()
        return [
            name,
            state is context.broker.state,
            tracker.context is context,
            None if progress is None else progress.meta,
        ]

    assert (await same(task)).value == ["tried", True, True, 3]


class Pool:
    def __init__(self, dsn: str) -> None:
        self.dsn = dsn


async def test_dependency_context_of_the_broker() -> None:
    """`broker.add_dependency_context` gives objects that no dependency makes."""

    def dsn(pool: Pool = TaskiqDepends()) -> str:
        return pool.dsn

    async def task(pool: Pool = TaskiqDepends(), value: str = TaskiqDepends(dsn)) -> Any:
        return [pool.dsn, value]

    assert (await same(task, context={Pool: Pool("given")})).value == ["given", "given"]


class Reader:
    async def __call__(self, name: str = TaskiqDepends(lambda: "called")) -> str:
        return name

    async def method(self, name: str = TaskiqDepends(lambda: "method")) -> str:
        return name


async def test_instances_and_methods() -> None:
    """Callable objects are dependencies too."""
    reader = Reader()

    async def task(
        one: str = TaskiqDepends(reader), other: str = TaskiqDepends(reader.method)
    ) -> Any:
        return [one, other]

    assert (await same(task)).value == ["called", "method"]
