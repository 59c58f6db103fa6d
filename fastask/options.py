"""The options of `ft.task`: read, checked against each other, and what Taskiq gets of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias, TypeGuard

from fastapi import params
from taskiq import AcknowledgeType
from taskiq.labels import parse_label, prepare_label
from typing_extensions import TypedDict

from fastask.cron import cron_problem, interval_problem, timezone_problem
from fastask.exceptions import TaskOptionError
from fastask.markers import Marker, marker_of
from fastask.naming import name_problem
from fastask.retries import RetryPolicy
from fastask.signatures import name_of, near_names

__all__ = ["AckType", "GivenOptions", "RetryOn", "TaskOptions", "markers_of"]

AckType: TypeAlias = (
    AcknowledgeType | Literal["when_received", "when_executed", "when_saved", "manual"]
)
RetryOn: TypeAlias = type[BaseException] | Sequence[type[BaseException]]


class GivenOptions(TypedDict, total=False, closed=True):
    """What `ft.task(...)` takes by keyword; `TaskOptions` says what each one does."""

    name: str | None
    timeout: float | None
    retries: int | None
    retry_delay: float | None
    retry_backoff: float | None
    retry_jitter: float | None
    retry_on: RetryOn | None
    cron: str | None
    interval: int | timedelta | None
    timezone: str | None
    schedule_args: Sequence[Any] | Mapping[str, Any] | None
    ack_type: AckType | None
    dependencies: Sequence[params.Depends]
    labels: Mapping[str, Any] | None


class TaskOptions(NamedTuple):
    """The options of one task.

    Attributes:
        name: its name; by default `module:function`, as Taskiq names it.
        timeout: seconds after which a run is cancelled and failed, Taskiq's label.
        retries: how often it is run again after an error.
        retry_delay: seconds before the first retry.
        retry_backoff: what the delay is multiplied with for each further retry; `True` is 2.
        retry_jitter: up to how many seconds are added at random; `True` is 1.
        retry_on: the errors after which it is run again; by default, every `Exception`.
        cron: when a scheduler sends it, as a cron expression of five fields.
        interval: how often a scheduler sends it: whole seconds, or a timedelta of them.
        timezone: the time zone of `cron`, such as `"Europe/Berlin"`; by default UTC.
        schedule_args: what it is sent with: a sequence of positional arguments or a
            mapping of keyword arguments.
        ack_type: when a message is acknowledged, as Taskiq's `--ack-type`.
        dependencies: dependencies resolved for their effect, before the task's own.
        labels: further labels for Taskiq and its middlewares.
    """

    name: str | None = None
    timeout: float | None = None
    retries: int | None = None
    retry_delay: float | None = None
    retry_backoff: float | None = None
    retry_jitter: float | None = None
    retry_on: RetryOn | None = None
    cron: str | None = None
    interval: int | timedelta | None = None
    timezone: str | None = None
    schedule_args: Sequence[Any] | Mapping[str, Any] | None = None
    ack_type: AckType | None = None
    dependencies: Sequence[params.Depends] = ()
    labels: Mapping[str, Any] = MappingProxyType({})

    @classmethod
    def read(cls, name: str | None, options: Mapping[str, Any]) -> TaskOptions:
        """Check the options of a decorator.

        Raises:
            TaskOptionError: an unknown option, a value that can't be used, or options that
                contradict each other.
        """
        for option in options:
            if option not in cls._fields:
                raise TaskOptionError(option, _unknown(option))
        given = {option: value for option, value in options.items() if value is not None}
        if name is not None and "name" in given:
            raise TaskOptionError("name", "it is given twice; write it once")
        made = cls(**{"name": name, **given})
        for check in _CHECKS:
            check(made)
        return made

    @property
    def retry(self) -> RetryPolicy | None:
        """When the task is run again."""
        if not self.retries:
            return None
        on = self.retry_on or (Exception,)
        return RetryPolicy(
            retries=self.retries,
            delay=self.retry_delay or 0.0,
            backoff=_number(self.retry_backoff, true=2.0, none=1.0),
            jitter=_number(self.retry_jitter, true=1.0, none=0.0),
            on=(on,) if isinstance(on, type) else tuple(on),
        )

    @property
    def is_retried(self) -> bool:
        """Whether its messages may be sent again after an error, by Taskiq's middleware too."""
        return bool(self.retries or self.labels.get("retry_on_error"))

    def all_labels(self) -> dict[str, Any]:
        """Give the labels as Taskiq reads them."""
        labels = dict(self.labels)
        if self.timeout is not None:
            labels["timeout"] = self.timeout
        if (ack_type := labels.get("ack_type", self.ack_type)) is not None:
            labels["ack_type"] = AcknowledgeType(ack_type).value  # an enum would travel as its name
        if self.retries:
            # The task's own policy; a retry middleware for all tasks keeps its hands off.
            labels["retry_on_error"] = False
        if (schedule := self._schedule()) is not None:
            labels["schedule"] = [schedule]
        return labels

    def _schedule(self) -> dict[str, Any] | None:
        if self.cron is None and self.interval is None:
            return None
        made: dict[str, Any] = {"interval": self.interval}
        if self.cron is not None:
            made = {"cron": " ".join(self.cron.split())}  # as pycron wants it
            if self.timezone is not None:
                made["cron_offset"] = self.timezone
        if isinstance(self.schedule_args, Mapping):
            made["kwargs"] = dict(self.schedule_args)
        elif self.schedule_args is not None:
            made["args"] = list(self.schedule_args)
        return made


def markers_of(option: str, dependencies: Any) -> tuple[Marker, ...]:
    """Read `dependencies=[Depends(...)]`.

    Raises:
        TaskOptionError: an entry that is no marker, or one that names no dependency.
    """
    if not isinstance(dependencies, Sequence):
        raise TaskOptionError(option, "write a list: [Depends(...)]")
    markers: list[Marker] = []
    for entry in dependencies:
        if not isinstance(entry, params.Depends) or entry.dependency is None:
            shown = name_of(entry) if callable(entry) else repr(entry)
            raise TaskOptionError(option, f"write Depends(...) around {shown}")
        # FastAPI reads no `use_cache` here either.
        markers.append(marker_of(entry)._replace(use_cache=True))
    return tuple(markers)


def _unknown(option: str) -> str:
    if option == "task_name":
        return 'the name comes first: @ft.task("name")'
    if near := near_names(option, TaskOptions._fields):
        return f"there is no such option; did you mean {near}?"
    return f"there is no such option; write labels={{{option!r}: ...}} for a label of your own"


def _number(value: float | None, *, true: float, none: float) -> float:
    if not value:
        return none
    return true if isinstance(value, bool) else float(value)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_name(options: TaskOptions) -> None:
    if options.name is not None and (problem := name_problem(options.name)):
        raise TaskOptionError("name", problem)


def _check_timeout(options: TaskOptions) -> None:
    timeout: Any = options.labels.get("timeout", options.timeout)
    is_given = timeout is not None or "timeout" in options.labels
    if is_given and not (_is_number(timeout) and timeout > 0):
        raise TaskOptionError("timeout", f"write seconds above 0, not {timeout!r}")


def _check_retries(options: TaskOptions) -> None:
    retries: Any = options.retries
    if retries is not None and (type(retries) is not int or retries < 0):
        raise TaskOptionError("retries", f"write a number of retries, not {retries!r}")
    for option in ("retry_delay", "retry_backoff", "retry_jitter", "retry_on"):
        if getattr(options, option) is not None and not retries:
            raise TaskOptionError(option, "it says nothing without retries; write retries=3 too")
    _check_least("retry_delay", options.retry_delay, "seconds", 0)
    if not isinstance(options.retry_backoff, bool):
        _check_least("retry_backoff", options.retry_backoff, "a factor", 1)
    if not isinstance(options.retry_jitter, bool):
        _check_least("retry_jitter", options.retry_jitter, "seconds", 0)
    if options.retry_backoff and not options.retry_delay:
        raise TaskOptionError("retry_backoff", "there is no delay to multiply; write retry_delay")


def _check_least(option: str, value: Any, what: str, least: int) -> None:
    if value is not None and not (_is_number(value) and value >= least):
        raise TaskOptionError(option, f"write {what}, {least} or more, not {value!r}")


def _check_retry_on(options: TaskOptions) -> None:
    on: Any = options.retry_on
    if on is None:
        return
    classes = list(on) if isinstance(on, Collection) else [on]  # an iterator has but one use
    if not classes or not all(_is_error(each) for each in classes):
        raise TaskOptionError("retry_on", f"write classes of exceptions, not {on!r}")


def _is_error(each: Any) -> bool:
    return isinstance(each, type) and issubclass(each, BaseException)


def _check_schedule(options: TaskOptions) -> None:
    if options.cron is not None and options.interval is not None:
        raise TaskOptionError("interval", "the task has a cron too; write one of them")
    if options.timezone is not None:
        _check_timezone(options.cron, options.timezone)
    if options.schedule_args is not None:
        _check_schedule_args(options)
    if options.cron is not None and (problem := cron_problem(options.cron)):
        raise TaskOptionError("cron", problem)
    if options.interval is not None and (problem := interval_problem(options.interval)):
        raise TaskOptionError("interval", problem)


def _check_schedule_args(options: TaskOptions) -> None:
    if options.cron is None and options.interval is None:
        reason = "they say nothing without a schedule; write cron= or interval= too"
        raise TaskOptionError("schedule_args", reason)
    args: Any = options.schedule_args
    if isinstance(args, (str, bytes)) or not isinstance(args, (Sequence, Mapping)):
        reason = f"write a list, or a mapping of keywords, not {type(args).__name__}"
        raise TaskOptionError("schedule_args", reason)


def _check_timezone(cron: str | None, zone: Any) -> None:
    if cron is None:
        raise TaskOptionError("timezone", "it says nothing without a cron")
    if problem := timezone_problem(zone):
        raise TaskOptionError("timezone", problem)


def _check_ack_type(options: TaskOptions) -> None:
    ack_type = options.labels.get("ack_type", options.ack_type)
    if ack_type is None and "ack_type" not in options.labels:
        return
    try:
        is_manual = AcknowledgeType(ack_type) is AcknowledgeType.MANUAL
    except ValueError:
        kinds = ", ".join(repr(kind.value) for kind in AcknowledgeType)
        raise TaskOptionError("ack_type", f"write one of {kinds}") from None
    if is_manual and options.retries:
        reason = "a run that failed has acknowledged nothing, so it would be both retried and "
        raise TaskOptionError("retries", f"{reason}redelivered; leave out ack_type='manual'")


def _check_labels(options: TaskOptions) -> None:
    labels: Any = options.labels
    if not isinstance(labels, Mapping) or not all(isinstance(label, str) for label in labels):
        raise TaskOptionError("labels", "write a mapping such as {'queue': 'mail'}")
    for option, label in _LABELS:
        if label in labels and getattr(options, option) is not None:
            raise TaskOptionError(option, f"it is in labels too, as {label!r}; write it once")
    for label, (read, wanted) in _NUMBERS.items():
        if label in labels and not _is_read(read, labels[label]):
            reason = f"{label!r} is not {wanted}, and a worker refuses such messages"
            raise TaskOptionError("labels", f"{reason}; write one, or leave it out")


def _is_read(read: Callable[[Any], Any], label: Any) -> bool:
    """Whether a label can be read where it arrives."""
    try:
        read(parse_label(*prepare_label(label)))
    except (ValueError, TypeError, OverflowError):
        return False
    return True


# What Taskiq reads as a number, in labels that have no option of their own.
_NUMBERS: dict[str, tuple[Callable[[Any], float], str]] = {
    "delay": (float, "a number of seconds"),
    "max_retries": (int, "a whole number"),
    "_retries": (int, "a whole number"),
    "X-Taskiq-requeue": (int, "a whole number"),
}
_LABELS = (
    ("timeout", "timeout"),
    ("ack_type", "ack_type"),
    ("cron", "schedule"),
    ("interval", "schedule"),
    ("retries", "retry_on_error"),
    ("retries", "max_retries"),
    ("retry_delay", "delay"),
)
_CHECKS: tuple[Callable[[TaskOptions], None], ...] = (
    _check_labels,
    _check_name,
    _check_timeout,
    _check_retries,
    _check_retry_on,
    _check_schedule,
    _check_ack_type,
)
