"""`FastTask`: one object for an app and its worker. It delegates and decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from fastapi import FastAPI, params
from taskiq import AsyncBroker, AsyncResultBackend, TaskiqScheduler
from typing_extensions import Unpack

from fastask.brokers import broker_from
from fastask.declare import Declared, TaskDecorator, bind, check, make_task
from fastask.depends import DependsMethod
from fastask.lifespan import AppLifespan, AppT, Lifespan, UserLifespan
from fastask.loading import AppLike, AppReference
from fastask.options import GivenOptions, TaskOptions, markers_of
from fastask.program import Program
from fastask.request import RequestFactory
from fastask.router import Inclusion, TaskRouter, checked_router, decorate
from fastask.scheduler import AppScheduler
from fastask.task import AsyncTask, SyncTask, Task
from fastask.worker.app import Worker

if TYPE_CHECKING:
    from fastask.testing.context import Testing

__all__ = ["FastTask"]

P = ParamSpec("P")
R = TypeVar("R")


class FastTask(DependsMethod):
    """A FastAPI app and its Taskiq worker as one program.

    Args:
        app: the app: `"module:attr"` (dots allowed in both), a `FastAPI` instance, or a
            factory without arguments. A path is imported on first use, so it may name the
            module that is being imported.
        broker: a URL: `"sqlite:///tasks.db"`, `"redis://..."`, `"nats://..."`, `"amqp://..."`,
            with `queue`, `deadline`, `prefetch`, `results_ttl` and `wait` in its query;
            `"env:NAME"`, the URL that an environment variable holds; a Taskiq broker, which is
            used as it is; or nothing, which is `"memory://"`: tasks run in the web process.
            docs/brokers.md has them in full.
        results: where results are kept, if not where the broker's URL says: a URL, or a
            Taskiq result backend.
        base_url: what links made by `request.url_for` in tasks start with, such as
            `"https://example.org"`.
        dependencies: dependencies of every task, resolved for their effect.
        threads: how many blocking functions (plain `def` tasks and dependencies) may run
            at once in tasks; by default they share the limit of FastAPI's routes, 40.

    Raises:
        AppImportError: `app` can't name an app. A path is looked up later.
        BrokerURLError: a URL that can't be used, or whose extra is not installed.
        TaskOptionError: an entry of `dependencies` is no marker.
        ValueError: `base_url` is not absolute, or `threads` is below 1.
    """

    def __init__(  # noqa: PLR0913 - options, each of its own
        self,
        app: AppLike,
        broker: AsyncBroker | str | None = None,
        *,
        results: AsyncResultBackend[Any] | str | None = None,
        base_url: str | None = None,
        dependencies: Sequence[params.Depends] = (),
        threads: int | None = None,
    ) -> None:
        if threads is not None and (type(threads) is not int or threads < 1):
            raise ValueError(f"threads must be 1 or more, not {threads!r}")
        self._before = markers_of("dependencies", dependencies)
        self._program = Program(
            AppReference(app), broker_from(broker, results), RequestFactory(base_url), threads
        )
        self._lifespan = AppLifespan(self._program)
        Worker(self._program, self._lifespan).install()

    @property
    def broker(self) -> AsyncBroker:
        """The Taskiq broker; `broker = ft.broker` serves `taskiq worker app:broker`."""
        return self._program.broker

    @property
    def app(self) -> FastAPI:
        """The FastAPI app, imported on first use.

        Raises:
            AppImportError: it can't be had.
        """
        return self._program.app

    @cached_property
    def scheduler(self) -> TaskiqScheduler:
        """Taskiq's scheduler; `scheduler = ft.scheduler` serves `taskiq scheduler`."""
        return AppScheduler(self._program)

    @overload
    def task(  # type: ignore[overload-overlap]
        self, func: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def task(self, func: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def task(
        self, target: str | None = None, /, **options: Unpack[GivenOptions]
    ) -> TaskDecorator: ...

    def task(self, target: Any = None, /, **options: Any) -> Any:
        """Make a function a task: `@ft.task`, `@ft.task(...)` or `@ft.task("name", ...)`.

        Args:
            target: the function (bare form), or the task's name; by default it is named
                `module:function`, as Taskiq names it.
            **options: `name`; `timeout`, seconds after which a run is cancelled and failed;
                `retries`, `retry_delay`, `retry_backoff`, `retry_jitter` and `retry_on`,
                when it is run again after an error; `cron` (with `timezone`) or `interval`,
                when a scheduler sends it, with `schedule_args`; `ack_type`, when its
                messages are acknowledged; `dependencies`, `Depends(...)` resolved for their
                effect before the task's own; `labels`, a mapping of further labels for
                Taskiq and its middlewares. docs/tasks.md has them in full.

        Returns:
            The task, a `Task[P, R]`.

        Raises:
            TaskOptionError: an unknown option, a value that can't be used, or options that
                contradict each other.
            DuplicateTaskError: another task of the broker has the name.
        """
        return decorate(target, options, self._declare)

    def include_router(self, router: TaskRouter, *, prefix: str = "") -> None:
        """Give a router's tasks this app and broker, those too that are declared later.

        The router's own task objects send through the first `FastTask` that includes it.

        Args:
            router: the router.
            prefix: put before the names of its tasks, with a colon: with `"mail"`, the
                task `"send"` is named `"mail:send"`.

        Raises:
            DuplicateTaskError: another task of the broker has the name of one of them.
            RouterIncludedError: it is included already.
            TaskOptionError: it is no `TaskRouter`, or a prefix or name can't be used.
        """
        inclusion = Inclusion.made(self._program, repr(self), self._before, prefix)
        checked_router(router).join(inclusion)

    def lifespan(self, user_lifespan: UserLifespan[AppT] | None = None) -> Lifespan[AppT]:
        """Wrap the app's lifespan, for `FastAPI(lifespan=...)`; also a decorator.

        In the web process the broker starts before the user's startup and stops after the
        user's shutdown. In a worker, where Taskiq starts the broker, the user's lifespan
        runs alone.

        Args:
            user_lifespan: an async context manager function or async generator function
                that takes the app, or nothing.
        """
        return self._lifespan.wrap(user_lifespan)

    def testing(
        self,
        run: Literal["inline", "later", "never"] = "inline",
        *,
        raise_errors: bool = True,
        lifespan: bool = True,
    ) -> Testing:
        """Run tasks in memory while the returned context is entered; see `Testing`.

        Args:
            run: `"inline"` runs a task before `kiq` returns, `"later"` when the test calls
                `tasks.run_all()`, `"never"` only notes what is sent.
            raise_errors: whether leaving raises a group of the errors of tasks that the test
                has not looked at.
            lifespan: whether the app's lifespan is entered where no test client does it.

        Returns:
            A context for `with`, which gives `Tasks`, and `async with`, which gives
            `AsyncTasks`.

        Raises:
            ValueError: `run` is something else.
        """
        # A server has no use for it.
        from fastask.testing.context import Testing  # noqa: PLC0415
        from fastask.testing.session import Options  # noqa: PLC0415

        options = Options(run, raise_errors=raise_errors, lifespan=lifespan)
        return Testing(self._program, self._lifespan, options)

    def __repr__(self) -> str:
        return f"FastTask({str(self._program.reference)!r}, {type(self.broker).__name__})"

    def _declare(self, func: Callable[..., Any], options: TaskOptions) -> Task[Any, Any]:
        declared = Declared(func, options, make_task(func, options), self._before)
        check(self._program, [declared])
        bind(self._program, [declared])
        return declared.handle
