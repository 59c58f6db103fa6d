"""One task: its function, what is injected into it, and what its messages carry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cached_property, partial
from inspect import Parameter, signature
from math import inf
from typing import Any, ForwardRef

from pydantic import BaseModel, PydanticUserError

from fastask.context import message_context
from fastask.copying import copied_call
from fastask.exceptions import (
    DependencyError,
    TaskOptionError,
    UnboundTaskError,
    UnresolvableTasksError,
)
from fastask.markers import Marker, ParameterSpec
from fastask.naming import name_problem
from fastask.plan.calls import call_in_thread
from fastask.plan.code import Checks, whole
from fastask.plan.nodes import Node, TreeReader
from fastask.plan.run import Executor, executor
from fastask.plan.steps import Plan, flatten
from fastask.program import Program
from fastask.signatures import Kind, kind_of, typed_return
from fastask.wire.arguments import ArgumentsWire
from fastask.wire.results import ResultWire

__all__ = ["Definition"]

_CHANGEABLE = (list, dict, set, bytearray, BaseModel)


def _is_same(overrides: Mapping[Any, Any], others: Mapping[Any, Any]) -> bool:
    """Whether the very same objects override: equal ones may still be different."""
    return overrides.keys() == others.keys() and all(
        others[call] is replacement for call, replacement in overrides.items()
    )


def _in_order(func: Callable[..., Any]) -> list[str]:
    """Give the parameters that a position can be meant for, injected ones too."""
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return [each.name for each in signature(func).parameters.values() if each.kind in kinds]


def _is_made(spec: ParameterSpec) -> bool:
    """Whether the default of a message's parameter is made for each run.

    As in a route: a copy of what a run may change, or what a marker such as `Query(5)`
    holds. Other objects are the function's own, since `is` may be asked of a sentinel.
    """
    default = spec.parameter.default
    is_changeable = isinstance(default, _CHANGEABLE) or is_dataclass(default)
    return spec.has_default and (spec.field is not None or is_changeable)


def _default_of(spec: ParameterSpec) -> Callable[[], Any]:
    return spec.default if _is_made(spec) else lambda: spec.parameter.default


class Definition:
    """What is known of a task, compiled when it is first needed.

    Annotations may name what is defined later in the module, so nothing is evaluated when
    the task is declared.

    Args:
        name: the task's name.
        func: its function.
        dependencies: markers of dependencies that are resolved for their effect.
        is_retried: whether its messages are sent again, as they came, after an error.
    """

    def __init__(
        self,
        name: str,
        func: Callable[..., Any],
        dependencies: Sequence[Marker] = (),
        *,
        is_retried: bool = False,
    ) -> None:
        self.name: str = name
        self.func = func
        self._dependencies = tuple(dependencies)
        self._is_retried = is_retried
        self._program: Program | None = None
        self._version = 0
        self._written: int | None = None
        self._plan: Plan | None = None
        self._plain: Executor | None = None
        self._overridden: tuple[Mapping[Any, Any], Executor] | None = None

    @property
    def is_bound(self) -> bool:
        """Whether the task belongs to a program."""
        return self._program is not None

    @property
    def program(self) -> Program:
        """What it shares with the other tasks.

        Raises:
            UnboundTaskError: its router is not included yet.
        """
        if self._program is None:
            reason = (
                "belongs to a TaskRouter that was not included since it was declared; "
                "call ft.include_router(router) after that"
            )
            raise UnboundTaskError(self.name, reason)
        return self._program

    def bind(self, program: Program, before: Sequence[Marker], prefix: str = "") -> None:
        """Give it a program, dependencies that are resolved before its own, a longer name.

        Raises:
            TaskOptionError: no worker would take the name.
        """
        name = f"{prefix}:{self.name}" if prefix else self.name
        if problem := name_problem(name):
            raise TaskOptionError("name", problem)
        self._program = program
        self.name = name
        self._dependencies = (*before, *self._dependencies)

    def copy(self) -> Definition:
        """Give the same task before anything of it was read."""
        other = Definition(self.name, self.func, self._dependencies, is_retried=self._is_retried)
        other._program = self._program
        return other

    def compile(self) -> None:
        """Read everything that a run needs.

        Raises:
            UnresolvableTasksError: a parameter can't be given, or an annotation can't be used.
        """
        self.executor()
        self.arguments  # noqa: B018 - compiled on first use
        self.results  # noqa: B018

    @cached_property
    def arguments(self) -> ArgumentsWire:
        """The arguments of its messages.

        Raises:
            UnresolvableTasksError: pydantic has no schema for an annotation.
        """
        try:
            return ArgumentsWire(
                self.name, self._root.messaged, self._root.injected, _in_order(self.func)
            )
        except (PydanticUserError, NameError) as error:
            raise self._unusable("a parameter", error) from error

    @cached_property
    def return_type(self) -> Any:
        """The evaluated return annotation.

        Raises:
            UnresolvableTasksError: it can't be evaluated.
        """
        found = typed_return(self.func)
        if isinstance(found, ForwardRef):
            undefined = NameError(f"name {found.__forward_arg__!r} is not defined")
            raise self._unusable("the return value", undefined)
        return found

    @cached_property
    def results(self) -> ResultWire:
        """Its result.

        Raises:
            UnresolvableTasksError: pydantic has no schema for the return annotation.
        """
        try:
            return ResultWire(self.name, self.return_type)
        except (PydanticUserError, NameError) as error:
            raise self._unusable("the return value", error) from error

    def load_result(self, form: Any) -> Any:
        """Give the value that a stored result holds, in the type of the return annotation.

        Raises:
            InvalidResultError: it does not fit.
            UnresolvableTasksError: pydantic has no schema for the return annotation.
        """
        return self.results.load(form)

    def executor(self) -> Executor:
        """Give what runs the task with the overrides that hold now.

        Raises:
            UnresolvableTasksError: a parameter can't be given.
        """
        program = self.program
        if program.contexts.version != self._version:
            self._forget(program.contexts.version)
        overrides = program.overrides()
        if not overrides:
            if self._plain is None:
                self._plan = self._flat({})
                self._plain = executor(self.name, self._plan, self._call, program)
            return self._plain
        if self._overridden is None or not _is_same(self._overridden[0], overrides):
            plan = self._flat(overrides)
            made = executor(self.name, plan, self._call, program)
            self._overridden = (dict(overrides), made)
        return self._overridden[1]

    def _forget(self, version: int) -> None:
        """Read the tree again: `broker.add_dependency_context` has added what may fit it."""
        self._version = version
        self._plan = self._plain = self._overridden = None
        for name in ("_root", "arguments", "_made_defaults", "_nameless_defaults"):
            self.__dict__.pop(name, None)

    def run(self, args: Sequence[Any], kwargs: Mapping[str, Any], context: Any) -> Awaitable[Any]:
        """Check the arguments; then resolve the dependencies and call the function.

        Args:
            args: positional arguments, as a caller gives them.
            kwargs: keyword arguments, likewise.
            context: Taskiq's `Context`, or a function that makes it when it is asked for.

        Returns:
            What is to be awaited; it gives what the function returns, and raises whatever
            the task or a dependency raises.

        Raises:
            InvalidArgumentsError: the arguments don't fit; nothing was called.
            UnresolvableTasksError: a parameter can't be given.
        """
        execute = self.executor()
        checked, named = self._filled(self.arguments.check(args, kwargs))
        return execute(checked, named, context)

    def receive(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], context: Any
    ) -> Awaitable[Any]:
        """Run the task with the arguments of a message; see `run`."""
        execute = self.executor()
        checked, named = self.load(args, kwargs)
        return execute(checked, named, context)

    def load(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Check the arguments of a message, and add the defaults that are made for each run.

        Raises:
            InvalidArgumentsError: they don't fit.
        """
        if self._is_retried:  # what is open, such as `Any`, is the very object of the message
            args, kwargs = copied_call(args, kwargs)
        return self._filled(self.arguments.load(args, kwargs))

    def _filled(
        self, given: tuple[tuple[Any, ...], dict[str, Any]]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        checked, named = given
        for position, name, default in self._made_defaults:
            if name not in named and position >= len(checked):
                named[name] = default()
        nameless = self._nameless_defaults[len(checked) :]
        return ((*checked, *(default() for default in nameless)), named) if nameless else given

    def written_out(self, slow: Callable[..., Awaitable[Any]]) -> Callable[..., Any] | None:
        """Write the task out as one function, for messages while nothing is overridden.

        Args:
            slow: what serves a message where that does not hold.

        Returns:
            The function; `None` where there is none to be written: the task is not compiled,
            has teardown, or is written out already.
        """
        plan, program = self._plan, self.program
        if plan is None or plan.has_teardown or self._written == self._version:
            return None
        self._written = self._version
        checks = Checks(
            program=program,
            version=self._version,
            current=message_context,
            exact=self.arguments.exact,
            load=self.load,
            plain=self.results.plain,
            dump=self.results.dump,
            slow=slow,
        )
        return whole(self.name, plan, self._call, program, checks)

    @cached_property
    def _root(self) -> Node:
        return self._reader.task(self.name, self.func, self._dependencies)

    @cached_property
    def _reader(self) -> TreeReader:
        return TreeReader(self.program.contexts)

    @cached_property
    def _made_defaults(self) -> list[tuple[float, str, Callable[[], Any]]]:
        """Parameters whose default is made for each run, with their positions."""
        return [
            (
                position if spec.parameter.kind is Parameter.POSITIONAL_OR_KEYWORD else inf,
                spec.name,
                spec.default,
            )
            for position, spec in enumerate(self._root.messaged)
            if _is_made(spec) and spec.parameter.kind is not Parameter.POSITIONAL_ONLY
        ]

    @cached_property
    def _nameless_defaults(self) -> list[Callable[[], Any]]:
        """The defaults of all positional-only parameters, if one of them is made for each run."""
        specs = [
            spec for spec in self._root.messaged if spec.parameter.kind is Parameter.POSITIONAL_ONLY
        ]
        return [_default_of(spec) for spec in specs] if any(map(_is_made, specs)) else []

    @cached_property
    def _call(self) -> Callable[..., Awaitable[Any]]:
        func = self.func
        if kind_of(func) is Kind.ASYNC:
            return func

        async def in_thread(*args: Any, **kwargs: Any) -> Any:
            return await call_in_thread(partial(func, *args, **kwargs), self.program.limiter)

        return in_thread

    def _flat(self, overrides: Mapping[Any, Any]) -> Plan:
        try:
            return flatten(self._root, self._reader, overrides)
        except ExceptionGroup as group:
            raise UnresolvableTasksError([str(error) for error in group.exceptions]) from None

    def _unusable(self, what: str, error: Exception) -> UnresolvableTasksError:
        words = error.message if isinstance(error, PydanticUserError) else error
        reason = f"the annotation of {what} can't be used ({words})"
        remedy = "annotate it with a type pydantic knows"
        if isinstance(error, NameError):
            remedy = "import the name in its module, and not for type checkers alone"
        problem = DependencyError((self.name,), reason, remedy)
        return UnresolvableTasksError([str(problem)])
