"""Random dependency trees: what they are made of, and how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from hypothesis import strategies as st

__all__ = [
    "Flavour",
    "Node",
    "Scope",
    "Shape",
    "Tree",
    "Use",
    "trees",
    "trees_with_taskiq_markers",
]

Flavour: TypeAlias = Literal["async", "sync", "async generator", "generator"]
Shape: TypeAlias = Literal[
    "function",
    "class",
    "instance",
    "partial",
    "keyword partial",
    "partial of an instance",
    "wrapped by a plain function",
    "wrapped by its like",
    "method",
    "class method",
    "static method",
]
Scope: TypeAlias = Literal["function", "request"] | None

MOST_NODES = 12
MOST_CALLS = 80  # FastAPI walks a shared subtree once for every use

FLAVOURS: tuple[Flavour, ...] = ("async", "sync", "async generator", "generator")
SHAPES: tuple[Shape, ...] = (
    "function",
    "class",
    "instance",
    "partial",
    "keyword partial",
    "partial of an instance",
    "wrapped by a plain function",
    "wrapped by its like",
    "method",
    "class method",
    "static method",
)
VIAS = ("Depends", "Security", "Security", "ft.depends", "annotation")
STYLES = ("default", "annotated", "alias", "injected", "last of two")
ERRORS = ("value", "own", "http", "base")
HANDLERS = ("nothing", "finally", "reraise", "swallow", "replace", "replace from")
GIVEN = ("request", "connection", "response", "background")
DEFAULTED = (
    "query",
    "annotated_query",
    "header",
    "cookie",
    "body",
    "bare",
    "untyped",
    "optional",
    "factory",
)
# A list that the function changes: the next run must not see the change.
CHANGED = ("changed_body", "changed_query", "changed_factory")


@dataclass(frozen=True)
class Use:
    """One marker: which node it asks for, and how it is written."""

    node: int
    via: str = "Depends"
    style: str = "default"
    use_cache: bool = True
    scope: Scope = None
    scopes: tuple[str, ...] = ()
    limited: bool = False


@dataclass(frozen=True)
class Node:
    """One dependency, or the endpoint (node 0): how it is written and what it does.

    `fails` says where it raises: at "setup", in the "teardown" of a generator, in the
    "background" task that it adds, or by being a generator that does "not yield".
    """

    flavour: Flavour = "sync"
    shape: Shape = "function"
    uses: tuple[Use, ...] = ()
    extras: tuple[str, ...] = ()
    handler: str = "finally"
    fails: str | None = None
    error: str = "value"

    @property
    def is_generator(self) -> bool:
        return self.flavour in ("async generator", "generator")


@dataclass(frozen=True)
class Tree:
    """Dependencies of one endpoint; a node uses only nodes with higher numbers."""

    nodes: tuple[Node, ...]
    before: tuple[Use, ...] = ()
    overrides: tuple[tuple[int, int], ...] = ()
    postponed: bool = False


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Draw a tree that FastAPI accepts."""
    count = draw(st.integers(1, MOST_NODES)) + 1
    nodes = [_node(draw, index, count) for index in range(count)]
    for index in draw(st.sets(st.integers(0, count - 1), max_size=3)):
        nodes[index] = _failing(draw, nodes[index], index)
    _shorten(nodes)
    before = draw(st.lists(_uses(1, count), max_size=2))
    others = st.integers(1, count - 1)
    overrides: dict[int, int] = {}
    for old, new in draw(st.lists(st.tuples(others, others), max_size=3)):
        tried = {**overrides, old: new}
        if old != new and _calls(nodes, tried) is not None:
            overrides = tried
    _obey_scopes(nodes, before, overrides)
    return Tree(
        nodes=tuple(nodes),
        before=tuple(_written_for(use, nodes, in_signature=False) for use in before),
        overrides=tuple(overrides.items()),
        postponed=draw(st.booleans()),
    )


def trees_with_taskiq_markers() -> st.SearchStrategy[Tree]:
    """Trees with Taskiq's markers, which FastAPI can read because `ft.depends` adapts them."""
    return trees().map(_with_taskiq_markers)


def _with_taskiq_markers(tree: Tree) -> Tree:
    nodes = [
        replace(
            node,
            uses=tuple(_by_taskiq(use) if index else _by_ft_depends(use) for use in node.uses),
            extras=tuple(
                f"taskiq_{extra}" if index % 2 and extra in GIVEN[:2] else extra
                for extra in node.extras
            ),
        )
        for index, node in enumerate(tree.nodes)
    ]
    return replace(
        tree,
        nodes=tuple(nodes),
        before=tuple(_by_ft_depends(use) for use in tree.before),
        # FastAPI reads what overrides as it is, so that must not use Taskiq's markers.
        overrides=tuple(
            (old, new)
            for old, new in tree.overrides
            if not nodes[new].uses and not any("taskiq" in extra for extra in nodes[new].extras)
        ),
    )


def _by_ft_depends(use: Use) -> Use:
    return replace(use, via="ft.depends", scopes=(), limited=False)


def _by_taskiq(use: Use) -> Use:
    if use.scope is not None or use.via == "ft.depends":
        return _by_ft_depends(use)
    via = "Taskiq's annotation" if use.via == "annotation" else "TaskiqDepends"
    return replace(use, via=via, scopes=(), limited=False)


def _node(draw: st.DrawFn, index: int, count: int) -> Node:
    flavour = draw(st.sampled_from(FLAVOURS if index else FLAVOURS[:2]))
    shape: Shape = draw(st.sampled_from(SHAPES)) if index else "function"
    if shape == "class":
        flavour = "sync"
    most = 0 if index == count - 1 else 3
    uses = draw(st.lists(_uses(index + 1, count), min_size=0 if index else 1, max_size=most))
    extras = draw(st.sets(st.sampled_from(GIVEN + DEFAULTED + CHANGED), max_size=4))
    if draw(st.sampled_from((False, False, True))):
        extras.add("scopes")
    handler = draw(st.sampled_from(HANDLERS))
    return Node(flavour, shape, tuple(uses), tuple(sorted(extras)), handler)


@st.composite
def _uses(draw: st.DrawFn, first: int, count: int) -> Use:
    use = Use(
        node=draw(st.integers(first, count - 1)),
        via=draw(st.sampled_from(VIAS)),
        style=draw(st.sampled_from(STYLES)),
        use_cache=draw(st.sampled_from((True, True, False))),
        limited=draw(st.sampled_from((False, False, True))),
    )
    if use.via == "Security":
        return replace(use, scopes=tuple(draw(st.lists(st.sampled_from("ab"), max_size=2))))
    return replace(use, scope=draw(st.sampled_from((None, None, "function", "request"))))


def _failing(draw: st.DrawFn, node: Node, index: int) -> Node:
    places = ["setup", "background"]
    if node.is_generator:
        places += ["teardown", "teardown", "not yield"]
    fails = draw(st.sampled_from(places))
    extras = node.extras
    if fails == "background":
        extras = tuple(sorted({*extras, "background"}))
    return replace(node, fails=fails, error=draw(st.sampled_from(ERRORS)), extras=extras)


def _calls(nodes: Sequence[Node], overrides: Mapping[int, int]) -> int | None:
    """Count what FastAPI walks through; `None` for a circle or too much of it."""
    known: dict[int, int | None] = {}

    def below(index: int, above: frozenset[int]) -> int | None:
        index = overrides.get(index, index)
        if index in above:
            return None
        if index not in known:
            total = 1
            for use in nodes[index].uses:
                part = below(use.node, above | {index})
                if part is None:
                    return None
                total += part
            known[index] = total
        return known[index]

    counts = [below(index, frozenset()) for index in range(len(nodes))]
    if any(one is None or one > MOST_CALLS for one in counts):
        return None
    return counts[0]


def _shorten(nodes: list[Node]) -> None:
    """Drop uses, lowest nodes first, until no node costs too much."""
    costs: dict[int, int] = {}
    for index in reversed(range(len(nodes))):
        uses = nodes[index].uses
        while sum(costs[use.node] for use in uses) >= MOST_CALLS:
            uses = uses[:-1]
        nodes[index] = replace(nodes[index], uses=uses)
        costs[index] = 1 + sum(costs[use.node] for use in uses)


def _obey_scopes(nodes: list[Node], before: list[Use], overrides: Mapping[int, int]) -> None:
    """Let no generator of scope "request" need a dependency of scope "function"."""
    forced: set[int] = set()
    while True:
        found = {
            index
            for index, node in enumerate(nodes)
            if node.is_generator and any(use.scope == "function" for use in node.uses)
        }
        found |= {old for old, new in overrides.items() if new in found}
        if found <= forced:
            break
        forced |= found
        for index, node in enumerate(nodes):
            nodes[index] = replace(
                node, uses=tuple(_closed_early(use, forced) for use in node.uses)
            )
        before[:] = [_closed_early(use, forced) for use in before]
    for index, node in enumerate(nodes):
        nodes[index] = replace(node, uses=tuple(_written_for(use, nodes) for use in node.uses))


def _closed_early(use: Use, forced: set[int]) -> Use:
    return replace(use, scope="function") if use.node in forced else use


def _written_for(use: Use, nodes: Sequence[Node], *, in_signature: bool = True) -> Use:
    """Choose a spelling that exists: `Security` has no scope, a bare annotation needs a class."""
    if not in_signature:
        use = replace(use, via="Depends" if use.via == "annotation" else use.via)
    if use.via == "annotation" and nodes[use.node].shape != "class":
        use = replace(use, via="Depends")
    if use.via == "Security" and use.scope is not None:
        use = replace(use, via="Depends")
    if use.via != "Security":
        use = replace(use, scopes=())
    if use.via in ("Security", "ft.depends"):
        use = replace(use, limited=False)
    return use
