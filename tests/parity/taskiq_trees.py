"""Random trees of Taskiq's markers, and running one function by Taskiq and by fastask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from hypothesis import strategies as st
from taskiq import (
    AsyncBroker,
    AsyncTaskiqDecoratedTask,
    Context,
    InMemoryBroker,
    TaskiqDepends,
    TaskiqState,
)
from taskiq.depends.progress_tracker import ProgressTracker

from fastask import FastTask
from tests.parity.journal import described
from tests.parity.runs import Answer

__all__ = ["TaskiqNode", "TaskiqTree", "build", "by_fastask", "by_taskiq", "source", "trees"]

_MOST_NODES = 9
_KINDS = (
    "async",
    "sync",
    "async generator",
    "generator",
    "class",
    "instance",
    "async context manager",
    "context manager",
)
_TAGS = (1, "two", [3])


@dataclass(frozen=True)
class TaskiqNode:
    """One dependency; `uses` are the node, the way it is written and a tag to call it with."""

    kind: str
    is_tagged: bool
    uses: tuple[tuple[int, str, Any], ...] = ()
    extras: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskiqTree:
    """A task (node 0) and its dependencies; a node uses only nodes with higher numbers."""

    nodes: tuple[TaskiqNode, ...]
    fails: bool


@dataclass
class Notes:
    """What the functions of a tree did: calls, and generators in the order of their ends."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def call(self, name: str, tag: Any, opens: bool, **given: Any) -> str:
        token = f"{name} {tag}"
        self.calls.append((token, {key: self._shown(value) for key, value in given.items()}))
        if opens:
            self.opened.append(token)
        return token

    def close(self, token: str, error: BaseException | None = None) -> None:
        self.closed.append(token if error is None else f"{token} saw {error}")

    @staticmethod
    def _shown(value: Any) -> Any:
        match value:
            case Context():
                return value.message.task_name
            case TaskiqState():
                return "state"
            case ProgressTracker():
                return value.context.message.task_name
        return getattr(value, "token", value)


@st.composite
def trees(draw: st.DrawFn) -> TaskiqTree:
    """Draw a tree of cached dependencies; those below `use_cache=False` follow other rules."""
    count = draw(st.integers(2, _MOST_NODES))
    tagged = [index > 0 and draw(st.sampled_from((True, False, False))) for index in range(count)]
    nodes = []
    for index in range(count):
        uses = []
        if index < count - 1:
            for _ in range(draw(st.integers(0 if index else 1, 3))):
                target = draw(st.integers(index + 1, count - 1))
                style = draw(st.sampled_from(("default", "annotated", "FastAPI")))
                tag = draw(st.sampled_from(_TAGS)) if tagged[target] else None
                uses.append((target, "default" if tagged[target] else style, tag))
        kind = draw(st.sampled_from(_KINDS)) if index else draw(st.sampled_from(_KINDS[:2]))
        extras = draw(st.sets(st.sampled_from(tuple(_EXTRAS))))
        nodes.append(TaskiqNode(kind, tagged[index], tuple(uses), tuple(sorted(extras))))
    return TaskiqTree(tuple(nodes), fails=draw(st.booleans()))


def build(tree: TaskiqTree) -> tuple[Callable[..., Any], Notes]:
    """Execute the source of a tree; give the task's function and what it notes."""
    notes = Notes()
    namespace: dict[str, Any] = {**_NAMES, "__name__": __name__, "notes": notes}
    exec(compile(source(tree), "<tree>", "exec", dont_inherit=True), namespace)
    return namespace["n0"], notes


def source(tree: TaskiqTree) -> str:
    """Write a tree as Python source, the lowest nodes first."""
    return "\n".join(
        _definition(index, tree.nodes[index], fails=tree.fails and not index)
        for index in reversed(range(len(tree.nodes)))
    )


async def by_taskiq(
    function: Callable[..., Any], context: Mapping[Any, Any] | None = None
) -> Answer:
    """Run a function as a plain task of a bare broker."""
    broker = InMemoryBroker(await_inplace=True)
    return await _ran(broker, broker.task("tried")(function), context)


async def by_fastask(
    function: Callable[..., Any], context: Mapping[Any, Any] | None = None
) -> Answer:
    """Run a function as a task of a `FastTask` with the same broker."""
    broker = InMemoryBroker(await_inplace=True)
    return await _ran(broker, FastTask(FastAPI(), broker).task("tried")(function), context)


async def _ran(
    broker: AsyncBroker, task: AsyncTaskiqDecoratedTask[..., Any], context: Any
) -> Answer:
    broker.add_dependency_context(dict(context or {}))
    await broker.startup()
    try:
        sent = await task.kiq()
        result: Any = await broker.result_backend.get_result(sent.task_id)
    finally:
        await broker.shutdown()
    error = None if result.error is None else described(result.error)
    return Answer(result.return_value, error)


_EXTRAS = {
    "context": "context: Context = TaskiqDepends()",
    "state": "state: Annotated[TaskiqState, TaskiqDepends()]",
    "tracker": "tracker: ProgressTracker = TaskiqDepends()",
    "plain": "plain: int = 5",
}
_NAMES: dict[str, Any] = {
    "Annotated": Annotated,
    "Any": Any,
    "Context": Context,
    "Depends": Depends,
    "ProgressTracker": ProgressTracker,
    "TaskiqDepends": TaskiqDepends,
    "TaskiqState": TaskiqState,
    "asynccontextmanager": asynccontextmanager,
    "contextmanager": contextmanager,
}


def _definition(index: int, node: TaskiqNode, *, fails: bool) -> str:
    name = f"n{index}"
    opens = "generator" in node.kind or "context" in node.kind
    parameters, given = [], []
    for number, (target, style, tag) in enumerate(node.uses):
        parameters.append(_parameter(f"a{number}", target, style, tag))
        given.append(f"a{number}=a{number}")
    for extra in node.extras:
        parameters.append(_EXTRAS[extra])
        given.append(f"{extra}={extra}")
    word = "async def" if "async" in node.kind else "def"
    tagged, tag = (["tag=0"], "tag") if node.is_tagged else ([], "0")
    first = ["self"] if node.kind in ("class", "instance") else []
    star = ["*"] if parameters or tagged else []
    called = {"class": "__init__", "instance": "__call__"}.get(node.kind, name)
    lines = [
        f"{word} {called}({', '.join([*first, *star, *tagged, *parameters])}):",
        f"    token = notes.call({', '.join([repr(name), tag, repr(opens), *given])})",
        *[f"    {line}" for line in _ending(node, opens=opens, fails=fails)],
    ]
    if first:
        lines = [f"class {'C_' * (node.kind == 'instance')}{name}:", *[f"    {x}" for x in lines]]
    if node.kind == "instance":
        lines.append(f"{name} = C_{name}()")
    if "context" in node.kind:
        lines.insert(0, "@" + node.kind.replace(" ", ""))
    return "\n".join(lines) + "\n"


def _parameter(name: str, target: int, style: str, tag: Any) -> str:
    kwargs = "" if tag is None else f", kwargs={{'tag': {tag!r}}}"
    if style == "FastAPI":
        return f"{name} = Depends(n{target})"
    if style == "annotated":
        return f"{name}: Annotated[Any, TaskiqDepends(n{target})]"
    return f"{name} = TaskiqDepends(n{target}{kwargs})"


def _ending(node: TaskiqNode, *, opens: bool, fails: bool) -> list[str]:
    if opens:
        return [
            "try:",
            "    yield token",
            "except ValueError as error:",
            "    notes.close(token, error)",
            "    raise",
            "else:",
            "    notes.close(token)",
        ]
    if node.kind == "class":
        return ["self.token = token"]
    return ["raise ValueError('task')" if fails else "return token"]
