"""The flat plan of a task: its dependency tree with overrides applied and the cache resolved.

What FastAPI decides for every request, a plan decides once: which value serves which
parameter, and in which order dependencies are called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_origin

from fastask.adapter import original
from fastask.exceptions import DependencyError
from fastask.plan.nodes import Node, TreeReader
from fastask.plan.values import Provider, security_scopes
from fastask.signatures import Kind, kind_of, name_of

__all__ = ["Plan", "Step", "flatten"]


class Step(NamedTuple):
    """One value of a plan: provided by the run, or made by calling a dependency.

    Attributes:
        provide: makes what the run itself provides; `None` for a dependency.
        call: the dependency.
        kind: how it is called.
        is_awaited: whether it is no more than a coroutine function to await.
        values: parameter name and number of the step that makes its value.
        constants: parameters with a value that all runs share.
        defaults: parameters whose default is made anew for every run.
        closes_early: whether its teardown is of scope `"function"`.
        limiter: FastAPI's `max_concurrency`, which routes and tasks share.
    """

    provide: Provider | None = None
    call: Any = None
    kind: Kind = Kind.ASYNC
    is_awaited: bool = False
    values: tuple[tuple[str, int], ...] = ()
    constants: tuple[tuple[str, Any], ...] = ()
    defaults: tuple[tuple[str, Callable[[], Any]], ...] = ()
    closes_early: bool = False
    limiter: Any = None


class Plan(NamedTuple):
    """How a task's injected parameters are made.

    Attributes:
        steps: in the order of execution; a step needs only earlier ones.
        values: the task's parameters and the numbers of the steps that fill them.
        defaults: the task's parameters that get a default of their own.
        has_teardown: whether a generator is among the steps.
    """

    steps: tuple[Step, ...]
    values: tuple[tuple[str, int], ...]
    defaults: tuple[tuple[str, Callable[[], Any]], ...]
    has_teardown: bool


def flatten(root: Node, reader: TreeReader, overrides: Mapping[Any, Any]) -> Plan:
    """Make the plan of a task.

    Args:
        root: the task's tree.
        reader: reads the trees of overriding dependencies.
        overrides: dependencies and what replaces them.

    Raises:
        ExceptionGroup: of `DependencyError`, one for each parameter that can't be given.
    """
    flattening = _Flattening(reader, overrides)
    values = flattening.below(root)
    problems = flattening.problems
    if problems:
        raise ExceptionGroup(f"task {root.chain[0]!r} can't be resolved", problems)
    steps = tuple(flattening.steps)
    return Plan(
        steps=steps,
        values=tuple(values),
        defaults=tuple((name, spec.default) for name, spec in root.defaults.items()),
        has_teardown=any(step.kind.is_generator for step in steps),
    )


class _Flattening:
    """The walk of FastAPI's resolver, with steps noted instead of executed."""

    def __init__(self, reader: TreeReader, overrides: Mapping[Any, Any]) -> None:
        self.steps: list[Step] = []
        self.problems: list[DependencyError] = []
        self._reader = reader
        self._overrides = overrides
        self._made: dict[Any, int] = {}
        self._made_with_kwargs: list[tuple[Any, Mapping[str, Any], int]] = []
        self._provided: dict[Provider, int] = {}

    def below(self, node: Node) -> list[tuple[str, int]]:
        """Note the steps for what a node needs; tell which one fills which parameter."""
        self.problems.extend(node.problems)
        values = []
        for child in node.children:
            number = self._child(child)
            if child.name is not None:
                values.append((child.name, number))
        values += [(name, self._provide(make)) for name, make in node.provided.items()]
        scopes = Step(security_scopes(node.scopes))
        values += [(name, self._append(scopes)) for name in node.scoped]
        return values

    def _child(self, declared: Node) -> int:
        used = self._overriding(declared)
        # FastAPI resolves what a dependency needs before it looks for a cached value, so an
        # uncached dependency below a cached one is called for every use of the latter.
        values = self.below(used)
        number = self._cached(declared)
        if number is None or not declared.marker.use_cache:
            made = self._append(_call_step(used, declared, values))
            if number is None:
                self._remember(declared, made)
            number = made
        return number

    def _overriding(self, declared: Node) -> Node:
        replacement = self._overrides.get(declared.call) if self._overrides else None
        if replacement is None:
            return declared
        call = original(replacement)
        chain = (*declared.chain, f"{name_of(call)} (override)")
        if chain.count(chain[-1]) > len(self._overrides):  # more often than there are any
            circle = DependencyError(chain, "its overrides go round in a circle", "break it")
            raise ExceptionGroup("no plan can be made", [circle])
        marker = declared.marker._replace(dependency=call, scopes=())
        kind = kind_of(get_origin(call) or call)
        return self._reader.filled(Node(call, kind, chain, marker, declared.spec, declared.scopes))

    def _cached(self, declared: Node) -> int | None:
        kwargs = declared.marker.kwargs
        if not kwargs:
            return self._made.get(declared.cache_key)
        for call, other, number in self._made_with_kwargs:
            if call is declared.call and other == kwargs:
                return number
        return None

    def _remember(self, declared: Node, number: int) -> None:
        kwargs = declared.marker.kwargs
        if kwargs:
            self._made_with_kwargs.append((declared.call, kwargs, number))
        else:
            self._made[declared.cache_key] = number

    def _provide(self, make: Provider) -> int:
        if make not in self._provided:
            self._provided[make] = self._append(Step(make))
        return self._provided[make]

    def _append(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1


def _call_step(used: Node, declared: Node, values: list[tuple[str, int]]) -> Step:
    constants, defaults = list(used.fixed.items()), []
    for name, spec in used.defaults.items():
        if spec.constant:
            constants.append((name, *spec.constant))
        else:
            defaults.append((name, spec.default))
    # Private to FastAPI (0.165): the accounting of one `max_concurrency` declaration.
    limiter = getattr(declared.marker.declared, "_concurrency", None)
    return Step(
        call=used.call,
        kind=used.kind,
        is_awaited=used.kind is Kind.ASYNC and limiter is None,
        values=tuple(values),
        constants=tuple(constants),
        defaults=tuple(defaults),
        closes_early=declared.marker.scope == "function",
        limiter=limiter,
    )
