"""Starting and stopping a worker: signals, failures, restarts with pauses, giving up."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import suppress
from typing import NoReturn

from taskiq import AsyncBroker

from fastask.brokers.lifecycle import BrokerLifecycle, Moving
from fastask.brokers.unknown import UnknownTasks
from fastask.exceptions import AppImportError, EmbeddedBrokerError, UnresolvableTasksError
from fastask.worker.manager import Manager
from fastask.worker.report import failure, in_full
from fastask.worker.signals import StopSignals
from fastask.worker.unfinished import abandon, leave_threads_behind

__all__ = ["Supervision"]

logger: logging.Logger = logging.getLogger("fastask.worker")

_ATTEMPTS = 5  # unless --max-fails says otherwise
_LONGEST_PAUSE = 30.0  # seconds
_MANAGER_TIMEOUT = 5.0  # seconds; it looks for signals once a second
_LAST_WORDS = 0.3  # seconds in which the manager logs that it has sent the signal
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
        self._is_failed = False

    async def start(self, bring_up: Moving) -> None:
        """Start the worker; return without it when a signal tells to stop.

        Raises:
            BaseException: what the startup raises, where there is no process manager.
        """
        self._is_failed = False
        self._manager = Manager.of_this_process()
        if self._manager is None:
            await bring_up()
            self._unknown.install()
            return
        self._signals = StopSignals()
        self._signals.install()
        self._lifecycle.stopping = self._signals.received
        await self._attempt(bring_up, self._manager, self._signals)
        self._unknown.install()

    async def stop(self, bring_down: Moving) -> None:
        """Cancel what Taskiq no longer waits for, and stop the worker.

        Raises:
            BaseException: what the shutdown raises.
        """
        self._unknown.remove()
        unfinished = 1
        try:
            unfinished = await abandon(self._broker)
        finally:
            await self._finish(bring_down, unfinished)

    async def _finish(self, bring_down: Moving, unfinished: int) -> None:
        try:
            await bring_down()
        finally:
            if self._signals is not None:
                self._signals.close()
            if self._is_failed and self._manager is not None:
                _end(self._manager)
            if unfinished and self._manager is not None:
                leave_threads_behind()

    def crashed(self, error: BaseException) -> None:
        """Report that an app has died, and stop the worker, as it can't serve any more."""
        logger.critical("the lifespan has crashed: %s\n%s", failure(error), in_full(error))
        if self._manager is not None and not self._manager.args.reload:
            self._is_failed = True
            self._manager.stop()

    async def _attempt(self, bring_up: Moving, manager: Manager, signals: StopSignals) -> None:
        limit = manager.args.max_fails if manager.args.max_fails > 0 else _ATTEMPTS
        for attempt in range(1, limit + 1):
            try:
                await _interruptible(bring_up, signals)
            except _HOPELESS as error:
                await self._give_up(str(error), manager, signals)
            except Exception as error:  # noqa: BLE001 - told, and in the end given up on
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
                with suppress(TimeoutError):
                    await asyncio.wait_for(signals.received.wait(), pause)
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
        manager.stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(signals.received.wait(), _MANAGER_TIMEOUT)
            await asyncio.sleep(_LAST_WORDS)
        logger.critical("%s", told)
        _end(manager)


async def _interruptible(bring_up: Moving, signals: StopSignals) -> None:
    """Start, until a signal comes; what was started by then is stopped again."""
    task = asyncio.current_task()
    if task is None or signals.received.is_set():
        return

    def cancel() -> None:
        task.cancel()

    signals.tell(cancel)
    try:
        await bring_up()
    except asyncio.CancelledError:
        if not signals.received.is_set():
            raise
        task.uncancel()
        logger.info("told to stop during the startup, which is undone")
    finally:
        signals.forget(cancel)


def _end(manager: Manager) -> NoReturn:
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    manager.fail()
    os._exit(1)
