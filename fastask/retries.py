"""Running a failed task again: what `ft.task(retries=...)` stands for."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from taskiq import AsyncBroker, NoResultError, SmartRetryMiddleware, TaskiqMessage, TaskiqResult
from taskiq.kicker import AsyncKicker

from fastask.brokers.kinds import durable
from fastask.brokers.lifecycle import BrokerLifecycle
from fastask.exceptions import (
    InvalidArgumentsError,
    InvalidResultError,
    TaskLoopError,
    UnresolvableTasksError,
)

__all__ = ["RetryMiddleware", "RetryPolicy"]

# What another run would not change.
_FINAL = (InvalidArgumentsError, InvalidResultError, TaskLoopError, UnresolvableTasksError)


class RetryPolicy(NamedTuple):
    """How often and when a task is run again after an error.

    Attributes:
        retries: how many more runs it gets after the first.
        delay: seconds before the first retry.
        backoff: what the delay is multiplied with for each further retry.
        jitter: up to how many seconds are added to each delay, at random.
        on: the errors after which it is run again.
    """

    retries: int
    delay: float = 0.0
    backoff: float = 1.0
    jitter: float = 0.0
    on: tuple[type[BaseException], ...] = (Exception,)

    def covers(self, error: BaseException) -> bool:
        """Whether the task is run again after this error."""
        if isinstance(error, NoResultError) or not isinstance(error, self.on):
            return False
        return not isinstance(error, _FINAL) or any(each in _FINAL for each in self.on)

    def pause(self, retry: int) -> float:
        """Give the seconds before a retry; the first one is 1."""
        pause = self.delay * self.backoff ** (retry - 1)
        return pause + random.uniform(0, self.jitter)  # noqa: S311 - spreads load, keeps no secret


class RetryMiddleware(SmartRetryMiddleware):
    """Taskiq's retry middleware, for the tasks that have a policy of their own.

    A broker that is made from a URL delays the next message itself. With another one a delay
    is waited for in the worker that has the message, which is acknowledged (unless it is when
    it is received) after the next one is sent. So a worker that dies meanwhile loses nothing
    where the broker redelivers, and delays must be shorter than its deadline. A worker that
    is told to stop sends the message at once.

    Args:
        lifecycle: tells when to stop.
    """

    def __init__(self, lifecycle: BrokerLifecycle) -> None:
        super().__init__()
        self._lifecycle = lifecycle

    @classmethod
    def install(cls, broker: AsyncBroker) -> None:
        """Add it to a broker that does not have it."""
        if not any(isinstance(middleware, cls) for middleware in broker.middlewares):
            broker.add_middlewares(cls(BrokerLifecycle.of(broker)))

    def is_retry_on_error(self, message: TaskiqMessage) -> bool:
        """Say yes: only tasks with a policy come here; their label keeps others away."""
        return True

    def make_delay(self, message: TaskiqMessage, retries: int) -> float:
        """Give the pause that the task's policy has for a retry."""
        policy = self._policy(message)
        return 0.0 if policy is None else policy.pause(retries)

    async def on_send(
        self, kicker: AsyncKicker[Any, Any], message: TaskiqMessage, delay: float
    ) -> None:
        """Send the message again: delayed, or after the delay."""
        if durable(self.broker) is not None and "kick" not in vars(self.broker):
            kicker.with_labels(delay=delay)
        else:
            await self._lifecycle.pause(delay)
        await kicker.kiq(*message.args, **message.kwargs)

    async def on_error(
        self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException
    ) -> None:
        """Send the message again, if the task has a policy that covers the error."""
        policy = self._policy(message)
        if policy is not None and policy.covers(exception):
            # Taskiq counts runs, not retries, and looks for their number here.
            message.labels["max_retries"] = policy.retries + 1
            await super().on_error(message, result, exception)

    def _policy(self, message: TaskiqMessage) -> RetryPolicy | None:
        policy: RetryPolicy | None = getattr(
            self.broker.find_task(message.task_name), "retry", None
        )
        return policy
