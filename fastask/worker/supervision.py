"""Starting and stopping a worker: signals, failures, restarts with pauses, giving up."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from typing import NoReturn

from taskiq import AsyncBroker

from fastask.brokers.keeping import ResultKeeper
from fastask.brokers.kinds import durable
from fastask.brokers.lifecycle import BrokerLifecycle, Moving
from fastask.brokers.unknown import UnknownTasks
from fastask.brokers.unreadable import InvalidMessages
from fastask.exceptions import AppImportError, EmbeddedBrokerError, UnresolvableTasksError
from fastask.failures import FailureMiddleware
from fastask.masking import in_full, masked
from fastask.worker.logs import ShortRecords
from fastask.worker.manager import Manager
from fastask.worker.report import failure
from fastask.worker.signals import StopSignals
from fastask.worker.unfinished import abandon, leave_threads_behind

__all__ = ["Supervision"]

logger: logging.Logger = logging.getLogger("fastask.worker")

_ATTEMPTS = 5  # unless --max-fails says otherwise
_LONGEST_PAUSE = 30.0  # seconds
_TURN = 1.5  # seconds between workers that fail together; the manager looks once a second
_MANAGER_TIMEOUT = 5.0  # seconds
_LAST_WORDS = 0.3  # seconds in which the manager logs that it has sent the signal
_GLANCE = 0.5  # seconds between looks at other processes
_HOPELESS = (AppImportError, EmbeddedBrokerError, UnresolvableTasksError)


class Supervision:
    """Supervises the broker and the apps of one worker process.

    A startup that fails is tried again after a pause that grows; an app that can't be had,
    or tasks that can't be resolved, are not. In the end the worker gives up, and Taskiq's
    process manager, which would start it again for ever, ends with it. With `--reload` it
    waits for a change instead. Where no manager is there, as in `run_receiver_task`, errors
    go to the caller.

    Args:
        broker: the broker.
        lifecycle: starts and stops it.
    """

    def __init__(self, broker: AsyncBroker, lifecycle: BrokerLifecycle) -> None:
        self._broker = broker
        self._lifecycle = lifecycle
        self._manager: Manager | None = None
        self._signals: StopSignals | None = None
        self._unknown = UnknownTasks(broker, lifecycle.pause)
        self._invalid = InvalidMessages(broker)
        self._results = ResultKeeper(broker, lifecycle)
        self._watching: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[bool] | None = None

    async def start(self, bring_up: Moving) -> None:
        """Start the worker; return without it when a signal tells to stop.

        Raises:
            BaseException: what the startup raises, where there is no process manager.
        """
        self._manager = Manager.of_this_process()
        if self._manager is None:
            await bring_up()
        else:
            if (made := durable(self._broker)) is not None:
                # Without a limit, Taskiq's is none or negative.
                limit = self._manager.args.max_async_tasks or 0
                made.inbox.max_running = limit if limit > 0 else sys.maxsize
            self._signals = StopSignals()
            self._signals.install()
            self._lifecycle.stopping = self._signals.received
            self._watching = asyncio.create_task(_stop_without(self._manager))
            await self._attempt(bring_up, self._manager, self._signals)
        self._unknown.install()
        self._invalid.install()
        self._results.install()
        FailureMiddleware.install(self._broker)
        ShortRecords.install()  # again, as what has loggers may have been loaded since

    async def stop(self, bring_down: Moving) -> None:
        """Cancel what Taskiq no longer waits for, and stop the worker.

        Raises:
            BaseException: what the shutdown raises.
        """
        self._unknown.remove()
        self._invalid.remove()
        self._results.remove()
        FailureMiddleware.remove(self._broker)
        has_left_something = True
        try:
            has_left_something = await abandon(self._broker)
        finally:
            try:
                await bring_down()
            finally:
                self._leave(has_left_something)

    def crashed(self, error: BaseException) -> None:
        """Report that an app has died, and stop the worker, as it can't serve any more."""
        logger.critical("the lifespan has crashed: %s\n%s", failure(error), in_full(error))
        manager, signals = self._manager, self._signals
        is_to_end = manager is not None and not manager.args.reload
        if is_to_end and manager is not None and signals is not None and self._ending is None:
            self._ending = asyncio.create_task(_end_all(manager, signals))

    def _leave(self, has_left_something: bool) -> None:
        if self._signals is not None:
            self._signals.close()
        if self._watching is not None:
            self._watching.cancel()
        if self._manager is not None and self._ending is not None:
            has_answered = self._ending.done() and self._ending.result()
            _end(self._manager, has_answered)
        if self._manager is not None and has_left_something:
            leave_threads_behind()

    async def _attempt(self, bring_up: Moving, manager: Manager, signals: StopSignals) -> None:
        limit = manager.args.max_fails if manager.args.max_fails > 0 else _ATTEMPTS
        for attempt in range(1, limit + 1):
            try:
                await _interruptible(bring_up, signals)
            except _HOPELESS as error:
                await self._give_up(masked(str(error)), manager, signals)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - told, and given up on
                if signals.received.is_set():
                    return
                logger.debug("the startup has failed: %s", in_full(error))
                told = f"startup failed: {failure(error)}"
                if attempt == limit:
                    remedy = "mend that, or start what it needs, and start the worker again"
                    told = f"{told}; gave up after {limit} attempts: {remedy}"
                    await self._give_up(told, manager, signals)
                    return
                pause = min(2.0 ** (attempt - 1), _LONGEST_PAUSE)
                again = f"attempt {attempt} of {limit}, again in {pause:g} s"
                logger.error("%s; %s", told, again)  # noqa: TRY400 - in full at debug level
                await self._lifecycle.pause(pause)
            else:
                return
            if signals.received.is_set():
                return

    async def _give_up(self, told: str, manager: Manager, signals: StopSignals) -> None:
        """End this process and the manager; the error is the last line of the log."""
        if manager.args.reload:
            logger.critical("%s; waiting for a change", told)
            await signals.received.wait()
            return
        has_answered = await _end_all(manager, signals)
        await asyncio.sleep(_LAST_WORDS)
        _end(manager, has_answered, told)


async def _interruptible(bring_up: Moving, signals: StopSignals) -> None:
    """Start, until a signal comes; what was started by then is stopped again."""
    task = asyncio.current_task()
    if task is None or signals.received.is_set():
        return
    signals.startup = task
    try:
        await bring_up()
    except asyncio.CancelledError as cancelled:
        if not signals.received.is_set():
            if task.cancelling():
                raise
            raise RuntimeError("something that the startup awaits was cancelled") from cancelled
        logger.info("told to stop during the startup, which is undone")
    finally:
        signals.startup = None
        while signals.received.is_set() and task.cancelling():
            task.uncancel()


async def _end_all(manager: Manager, signals: StopSignals) -> bool:
    """Have the manager tell all workers to stop, this one too.

    Workers that fail together take turns, as two signals at once could halt the manager.
    Where it does not answer, this process tells itself.

    Returns:
        Whether it has answered.
    """
    manager.mark_failed()
    with suppress(TimeoutError):
        await asyncio.wait_for(signals.received.wait(), manager.number * _TURN)
    if signals.received.is_set():
        return True
    manager.stop()
    with suppress(TimeoutError):
        await asyncio.wait_for(signals.received.wait(), _MANAGER_TIMEOUT)
        return True
    os.kill(os.getpid(), signal.SIGINT)
    return False


async def _stop_without(manager: Manager) -> None:
    """Stop this process when its manager has died, as nobody else would."""
    while not manager.is_gone:  # noqa: ASYNC110 - nothing tells that a parent has died
        await asyncio.sleep(_GLANCE)
    logger.error("the process manager is gone, so this worker ends")
    os.kill(os.getpid(), signal.SIGINT)


def _end(manager: Manager, has_answered: bool, told: str = "") -> NoReturn:
    """End the manager and this process.

    The other workers, which may still be at work, come first, if they were told to stop;
    otherwise they stop when they miss the manager.
    """
    while has_answered and manager.others():
        time.sleep(_GLANCE)
    if told:
        logger.critical("%s", told)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    manager.fail()
    os._exit(1)
