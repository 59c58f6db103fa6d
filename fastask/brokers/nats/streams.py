"""The JetStream streams and the consumer that a queue needs."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import BadRequestError, NotFoundError, ServiceUnavailableError

__all__ = ["IN_USE", "added", "deadline_of", "make_consumer", "make_dead_letters", "make_stream"]

logger: logging.Logger = logging.getLogger("fastask.brokers")

T = TypeVar("T")

IN_USE = 10058  # the server's code for a stream that is there, with another configuration

_OURS = "made by fastask"
_DEAD_KEPT = 7 * 86_400.0  # seconds
_OVERLAPS = 10065  # the server's code for a subject that another stream takes


async def make_stream(js: JetStreamContext, queue: str) -> None:
    """Make the stream of a queue, unless it is there.

    Raises:
        ValueError: one of this name is there, and is no queue.
        ConnectionError: the server has no JetStream.
    """
    config = StreamConfig(
        name=queue,
        subjects=[queue],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
    )
    try:
        there = await _made(js, config)
    except ServiceUnavailableError:
        remedy = "start nats-server with -js, or wait until its cluster has a leader"
        raise ConnectionError(f"the server has no JetStream at the moment; {remedy}") from None
    if there.retention != RetentionPolicy.WORK_QUEUE:
        # It would keep what was acknowledged, and a new consumer would run it all again.
        raise ValueError(
            f"the stream {queue!r} is there with retention {_word(there.retention)}, not "
            f"'workqueue', so it is no queue; name another queue in the URL, or delete the "
            "stream when it holds nothing that you need"
        )
    if queue not in (there.subjects or ()):
        raise ValueError(
            f"the stream {queue!r} is there and does not take the subject {queue!r}; name "
            "another queue in the URL, or add the subject to the stream"
        )


async def make_consumer(js: JetStreamContext, queue: str, deadline: float) -> None:
    """Make the consumer that all workers of a queue share, or set it right."""
    config = ConsumerConfig(
        durable_name=queue,
        description=_OURS,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=deadline,
        # Delayed messages count, too; how many a worker holds is its own business.
        max_ack_pending=-1,
        max_deliver=-1,
    )
    await js.add_consumer(queue, config)


async def deadline_of(js: JetStreamContext, queue: str) -> float:
    """Give the deadline of the consumer; 0 if it is not there as it was made.

    A client of plain taskiq-nats that starts sets it to its own deadline (0.7.0).
    """
    try:
        there = (await js.consumer_info(queue, queue)).config
    except NotFoundError:
        return 0.0
    return (there.ack_wait or 0.0) if there.description == _OURS else 0.0


async def make_dead_letters(js: JetStreamContext, name: str) -> None:
    """Make the stream of dead letters, unless it is there; it keeps them for a week."""
    config = StreamConfig(name=name, subjects=[name], storage=StorageType.FILE, max_age=_DEAD_KEPT)
    await _made(js, config)


async def added(add: Callable[[], Awaitable[T]]) -> T:
    """Add a stream, also if another process adds the same one in the same moment.

    The second of them is told that its subjects overlap: with its own (NATS 2.9 and 2.10).

    Args:
        add: asks the server for it.
    """
    try:
        return await add()
    except BadRequestError as error:
        if error.err_code != _OVERLAPS:
            raise
    return await add()


async def _made(js: JetStreamContext, config: StreamConfig) -> StreamConfig:
    """Make a stream, or give the one that is there, which its users may have set up."""
    try:
        return (await added(lambda: js.add_stream(config))).config
    except BadRequestError as error:
        if error.err_code != IN_USE:
            raise
    return (await js.stream_info(config.name or "")).config


def _word(retention: RetentionPolicy | None) -> str:
    return "'limits'" if retention is None else repr(RetentionPolicy(retention).value)
