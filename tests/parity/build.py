"""Turns the description of a tree into real Python functions, through their source."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from textwrap import indent
from typing import Annotated, Any

from fastapi import (
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    Header,
    Query,
    Request,
    Response,
    Security,
    params,
)
from fastapi.requests import HTTPConnection
from fastapi.security import SecurityScopes
from taskiq import TaskiqDepends
from typing_extensions import TypeAliasType

from fastask import INJECTED, FastTask
from tests.parity.journal import Journal
from tests.parity.trees import Node, Shape, Tree, Use

__all__ = ["Built", "build", "source"]

_EXTRAS = {
    "request": "request: Request",
    "connection": "connection: HTTPConnection",
    "taskiq_request": "taskiq_request: Request = TaskiqDepends()",
    "taskiq_connection": "taskiq_connection: Annotated[HTTPConnection, TaskiqDepends()]",
    "response": "response: Response",
    "background": "background: BackgroundTasks",
    "scopes": "scopes: SecurityScopes",
    "query": "query: int = Query(5)",
    "annotated_query": "annotated_query: Annotated[int, Query()] = 6",
    "header": 'header: str = Header("h")',
    "cookie": "cookie: str | None = Cookie(None)",
    "body": 'body: dict[str, int] = Body({"k": 1})',
    "bare": "bare: int = 7",
    "untyped": 'untyped="u"',
    "optional": "optional: str | None = None",
    "factory": "factory: Annotated[int, Query(default_factory=lambda: 8)]",
    "changed_body": "changed_body: list[int] = [1]",
    "changed_query": "changed_query: list[int] = Query([2])",
    "changed_factory": "changed_factory: list[int] = Query(default_factory=lambda: [3])",
}


@dataclass(frozen=True)
class Built:
    """A tree as Python objects; the functions write into the journal."""

    endpoint: Callable[..., Any]
    before: list[params.Depends]
    overrides: dict[Any, Any]
    journal: Journal


def build(tree: Tree) -> Built:
    """Execute the source of a tree."""
    journal = Journal()
    namespace: dict[str, Any] = {**_NAMES, "__name__": "tree", "journal": journal}
    exec(compile(source(tree), "<tree>", "exec", dont_inherit=True), namespace)
    return Built(
        endpoint=namespace["n0"],
        before=namespace["before"],
        overrides={namespace[f"n{old}"]: namespace[f"n{new}"] for old, new in tree.overrides},
        journal=journal,
    )


def source(tree: Tree) -> str:
    """Write a tree as Python source, the lowest nodes first."""
    parts = ["from __future__ import annotations\n"] if tree.postponed else []
    parts += [_definition(index, tree.nodes[index]) for index in reversed(range(len(tree.nodes)))]
    parts.append(f"before = [{', '.join(_marker(use) for use in tree.before)}]")
    parts += [f"# n{old} is overridden by n{new}" for old, new in tree.overrides]
    return "\n".join(parts)


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap by a plain function, whatever the flavour of the function is."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def _alike(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a coroutine function by one, a generator function by one."""
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        return coroutine
    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Any:
            yield from function(*args, **kwargs)

        return generator
    return _plain(function)


async def _pause() -> None:
    await asyncio.sleep(0)


def _decoy() -> str:
    raise AssertionError("the last marker counts")


_CALLS = {
    "ft.depends": "depends",
    "annotation": "Depends",
    "Taskiq's annotation": "TaskiqDepends",
}
_NAMES: dict[str, Any] = {
    "Annotated": Annotated,
    "Any": Any,
    "BackgroundTasks": BackgroundTasks,
    "Body": Body,
    "Cookie": Cookie,
    "Depends": Depends,
    "HTTPConnection": HTTPConnection,
    "Header": Header,
    "INJECTED": INJECTED,
    "Query": Query,
    "Request": Request,
    "Response": Response,
    "Security": Security,
    "SecurityScopes": SecurityScopes,
    "TaskiqDepends": TaskiqDepends,
    "TypeAliasType": TypeAliasType,
    "alike": _alike,
    "decoy": _decoy,
    "depends": FastTask.depends,
    "partial": partial,
    "pause": _pause,
    "plain": _plain,
}


def _definition(index: int, node: Node) -> str:
    name = f"n{index}"
    aliases, parameters, names = [], [], []
    for number, use in enumerate(node.uses):
        parameter = f"a{number}"
        names.append(parameter)
        text, alias = _parameter(parameter, f"{name.upper()}_{number}", use)
        parameters.append(text)
        aliases += [alias] if alias else []
    for extra in node.extras:
        names.append(extra)
        parameters.append(_EXTRAS[extra])
    given = ", ".join(f"{one}={one}" for one in names)
    body = _body(name, node, given)
    return "\n".join([*aliases, _shaped(name, node, parameters, body)])


def _parameter(parameter: str, alias: str, use: Use) -> tuple[str, str | None]:
    marker, shown = _marker(use), "Any"
    if "annotation" in use.via:
        shown = f"n{use.node}"
    match use.style:
        case "default":
            return f"{parameter}: {shown} = {marker}", None
        case "annotated":
            return f"{parameter}: Annotated[{shown}, {marker}]", None
        case "injected":
            return f"{parameter}: Annotated[{shown}, {marker}] = INJECTED", None
        case "last of two":
            return f"{parameter}: Annotated[{shown}, Depends(decoy), {marker}]", None
    made = f"{alias} = TypeAliasType({alias!r}, Annotated[{shown}, {marker}])"
    return f"{parameter}: {alias}", made


def _marker(use: Use) -> str:
    arguments = [] if "annotation" in use.via else [f"n{use.node}"]
    if use.scopes:
        arguments.append(f"scopes={list(use.scopes)}")
    if not use.use_cache:
        arguments.append("use_cache=False")
    if use.scope is not None:
        arguments.append(f"scope={use.scope!r}")
    if use.limited:
        arguments.append("max_concurrency=100")
    return f"{_CALLS.get(use.via, use.via)}({', '.join(arguments)})"


# How a shape is written: before the function, its name, its first parameters, after it.
_SHAPES: dict[Shape, tuple[str, str, tuple[str, ...], str]] = {
    "function": ("", "{0}", (), ""),
    "class": ("class {0}:\n", "__init__", ("self",), ""),
    "instance": ("class C_{0}:\n", "__call__", ("self",), "{0} = C_{0}()"),
    "partial of an instance": (
        "class C_{0}:\n",
        "__call__",
        ("self",),
        "{0} = partial(C_{0}())",
    ),
    "partial": ("", "f_{0}", ("bound",), "{0} = partial(f_{0}, 'b')"),
    "keyword partial": ("", "f_{0}", ("bound",), "{0} = partial(f_{0}, bound='b')"),
    "wrapped by a plain function": ("@plain\n", "{0}", (), ""),
    "wrapped by its like": ("@alike\n", "{0}", (), ""),
    "method": ("class C_{0}:\n", "method", ("self",), "{0} = C_{0}().method"),
    "class method": (
        "class C_{0}:\n    @classmethod\n",
        "method",
        ("cls",),
        "{0} = C_{0}.method",
    ),
    "static method": ("class C_{0}:\n    @staticmethod\n", "method", (), "{0} = C_{0}.method"),
}


def _shaped(name: str, node: Node, parameters: list[str], body: str) -> str:
    before, called, first, after = _SHAPES[node.shape]
    word = "async def" if node.flavour.startswith("async") else "def"
    keywords = ["*", *parameters] if parameters else []
    signature = f"{word} {called.format(name)}({', '.join([*first, *keywords])}):\n"
    function = signature + indent(body, "    ")
    if before.startswith("class"):
        function = indent(function, "    ")
    return f"{before.format(name)}{function}{after.format(name)}\n"


def _body(name: str, node: Node, given: str) -> str:
    lines = ["await pause()"] if node.flavour.startswith("async") else []
    lines.append(
        f"token = journal.call({', '.join([repr(name), given] if given else [repr(name)])})"
    )
    if "background" in node.extras:
        error = node.error if node.fails == "background" else None
        lines.append(f"background.add_task(journal.background, {name!r}, {error!r})")
    if node.fails == "setup":
        lines.append(_fail(name, "setup", node.error))
    if node.fails == "not yield":
        lines += [f"if journal.not_yielding({name!r}):", "    return"]
    if node.shape == "class":
        lines.append("self.token = token")
    elif not node.is_generator:
        lines.append("return token")
    else:
        lines += _yielding(name, node)
    return "\n".join(lines) + "\n"


def _fail(name: str, phase: str, error: str) -> str:
    return f"raise journal.error({name!r}, {phase!r}, {error!r})"


def _yielding(name: str, node: Node) -> list[str]:
    closed = ["await pause()"] if node.flavour == "async generator" else []
    closed.append(f"journal.closed({name!r})")
    if node.fails == "teardown":
        closed.append(_fail(name, "teardown", node.error))
    if node.handler == "nothing":
        return ["yield token", *closed]
    inner = ["    " + line for line in closed]
    if node.handler == "finally":
        return ["try:", "    yield token", "finally:", *inner]
    handled = {
        "reraise": ["    raise"],
        "swallow": [],
        "replace": [f"    {_fail(name, 'replace', node.error)} from None"],
        "replace from": [f"    {_fail(name, 'replace', node.error)} from error"],
    }[node.handler]
    return [
        "try:",
        "    yield token",
        "except BaseException as error:",
        f"    journal.saw({name!r}, error)",
        *handled,
        "else:",
        *inner,
    ]
