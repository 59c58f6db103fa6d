"""The flat plan of a task: its dependency tree with overrides applied and the cache resolved.

What FastAPI decides for every request, a plan decides once: which value serves which
parameter, and in which order dependencies are called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fastask.adapter import original
from fastask.exceptions import DependencyError
from fastask.plan.nodes import Node, TreeReader
from fastask.plan.values import Provided
from fastask.signatures import Kind, name_of

__all__ = ["Plan", "Step", "flatten"]


@dataclass(frozen=True, slots=True)
class Step:
    """One value of a plan: provided by the run, or made by calling a dependency.

    Attributes:
        slot: where the value goes.
        kind: how the dependency is called; `None` for what the run provides.
        call: the dependency, or what is provided.
        values: parameter name and slot, for what earlier steps made.
        constants: parameters with a value that all runs share.
        defaults: parameters whose default is made anew for every run.
        closes_early: whether its teardown is of scope `"function"`.
        limiter: FastAPI's `max_concurrency`, which routes and tasks share.
        scopes: OAuth2 scopes, where `SecurityScopes` is provided.
    """

    slot: int
    kind: Kind | None
    call: Any
    values: tuple[tuple[str, int], ...] = ()
    constants: tuple[tuple[str, Any], ...] = ()
    defaults: tuple[tuple[str, Callable[[], Any]], ...] = ()
    closes_early: bool = False
    limiter: Any = None
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """How a task's injected parameters are made.

    Attributes:
        steps: in the order of execution; a step needs only earlier ones.
        slots: how many values there are.
        values: the task's parameters and the slots that fill them.
        defaults: the task's parameters that get a default of their own.
        has_teardown: whether a generator is among the steps.
        uses_background: whether `BackgroundTasks` is provided.
    """

    steps: tuple[Step, ...]
    slots: int
    values: tuple[tuple[str, int], ...]
    defaults: tuple[tuple[str, Callable[[], Any]], ...]
    has_teardown: bool
    uses_background: bool


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
        slots=len(steps),
        values=tuple(values),
        defaults=tuple((name, spec.default) for name, spec in root.defaults.items()),
        has_teardown=any(step.kind is not None and step.kind.is_generator for step in steps),
        uses_background=any(step.call is Provided.BACKGROUND_TASKS for step in steps),
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
        self._provided: dict[Any, int] = {}

    def below(self, node: Node) -> list[tuple[str, int]]:
        """Note the steps for what a node needs; tell which slot fills which parameter."""
        self.problems.extend(node.problems)
        values = []
        for child in node.children:
            slot = self._child(child)
            if child.name is not None:
                values.append((child.name, slot))
        values += [(name, self._provide(what, node)) for name, what in node.provided.items()]
        return values

    def _child(self, declared: Node) -> int:
        used = self._overriding(declared)
        # FastAPI resolves what a dependency needs before it looks for a cached value, so an
        # uncached dependency below a cached one is called for every use of the latter.
        values = self.below(used)
        slot = self._cached(declared)
        if slot is None or not declared.marker.use_cache:
            made = self._append(_call_step(used, declared, values, len(self.steps)))
            if slot is None:
                self._remember(declared, made)
            slot = made
        return slot

    def _overriding(self, declared: Node) -> Node:
        replacement = self._overrides.get(declared.call) if self._overrides else None
        if replacement is None:
            return declared
        call = original(replacement)
        chain = (*declared.chain, f"{name_of(call)} (override)")
        marker = replace(declared.marker, dependency=call, scopes=())
        return self._reader.dependency(call, chain, marker, declared.scopes, declared.spec)

    def _cached(self, declared: Node) -> int | None:
        kwargs = declared.marker.kwargs
        if not kwargs:
            return self._made.get(declared.cache_key)
        for call, other, slot in self._made_with_kwargs:
            if call is declared.call and other == kwargs:
                return slot
        return None

    def _remember(self, declared: Node, slot: int) -> None:
        kwargs = declared.marker.kwargs
        if kwargs:
            self._made_with_kwargs.append((declared.call, kwargs, slot))
        else:
            self._made[declared.cache_key] = slot

    def _provide(self, what: Any, node: Node) -> int:
        if what is Provided.SECURITY_SCOPES:
            return self._append(Step(len(self.steps), None, what, scopes=node.scopes))
        if what not in self._provided:
            self._provided[what] = self._append(Step(len(self.steps), None, what))
        return self._provided[what]

    def _append(self, step: Step) -> int:
        self.steps.append(step)
        return step.slot


def _call_step(used: Node, declared: Node, values: list[tuple[str, int]], slot: int) -> Step:
    constants, defaults = list(used.fixed.items()), []
    for name, spec in used.defaults.items():
        if spec.constant:
            constants.append((name, *spec.constant))
        else:
            defaults.append((name, spec.default))
    return Step(
        slot=slot,
        kind=used.kind,
        call=used.call,
        values=tuple(values),
        constants=tuple(constants),
        defaults=tuple(defaults),
        closes_early=declared.marker.scope == "function",
        # Private to FastAPI (0.165): the accounting of one `max_concurrency` declaration.
        limiter=getattr(declared.marker.declared, "_concurrency", None),
    )
