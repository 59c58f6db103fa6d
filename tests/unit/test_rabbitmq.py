"""The RabbitMQ broker without a server."""

from __future__ import annotations

import math
from typing import Any

import pytest
from taskiq import TaskiqResult
from taskiq.brokers.inmemory_broker import InmemoryResultBackend

from fastask import BrokerURLError, NoResultsError
from fastask.brokers import broker_from
from fastask.brokers.rabbitmq import RabbitBroker
from fastask.brokers.rabbitmq.delays import LONGEST_DELAY, delay_arguments, rounded


def made(url: str = "amqp://me:hidden@host/vhost") -> RabbitBroker:
    broker = broker_from(url)
    assert isinstance(broker, RabbitBroker)
    return broker


@pytest.mark.parametrize(
    ("delay", "milliseconds"),
    [
        (0.000001, 100),
        (0.1, 100),
        (0.101, 110),
        (0.3, 300),
        (0.1 + 0.2, 300),
        (1, 1000),
        (1.001, 1100),
        (9.91, 10_000),
        (60, 60_000),
        (61, 61_000),
        (3600, 3_600_000),
        (86_400, 87_000_000),
        (LONGEST_DELAY, 4_200_000_000),
    ],
)
def test_rounded(delay: float, milliseconds: int) -> None:
    assert rounded(delay) == milliseconds


def test_rounding_is_never_down_and_little() -> None:
    """At most a tenth more, and few different ones."""
    delays = [0.1 * 1.001**power for power in range(12_000)]
    assert all(delay * 1000 <= rounded(delay) * (1 + 1e-9) for delay in delays)
    assert all(rounded(delay) <= delay * 1100 + 1 for delay in delays)
    decades = math.log10(delays[-1] / delays[0])
    assert len({rounded(delay) for delay in delays}) <= 91 * decades


def test_delay_queues_outlive_their_messages() -> None:
    arguments = delay_arguments(rounded(LONGEST_DELAY), "tasks")
    assert arguments["x-expires"] > arguments["x-message-ttl"] + 60_000
    assert arguments["x-expires"] < 2**32


@pytest.mark.parametrize(
    ("deadline", "heartbeat"), [("1", 10), ("60", 60), ("60.5", 61), ("1e9", 65_000)]
)
def test_deadline_is_the_heartbeat(deadline: str, heartbeat: int) -> None:
    assert made(f"amqp://host?deadline={deadline}")._heartbeat == heartbeat


def test_names_follow_the_queue() -> None:
    broker = made("amqp://host?queue=mail")
    assert broker._exchange.name == "mail"
    assert [queue.name for queue in broker._task_queues] == ["mail"]
    assert broker._dead_letter_queue.name == "mail.dead_letter"


def test_no_password_is_shown() -> None:
    broker = made()
    assert "hidden" not in f"{broker!r} {broker} {broker.address}"
    assert broker.address == "amqp://me:***@host/vhost"


@pytest.mark.parametrize("place", ["", "/", "/vhost", ":5672/", "me:hidden@/vhost"])
def test_no_server(place: str) -> None:
    """A URL without a server says how to write it, and nothing of itself."""
    with pytest.raises(BrokerURLError, match="write it as amqps://user:password@host/") as caught:
        broker_from(f"amqps://{place}")
    assert "hidden" not in str(caught.value)


async def test_results_are_dropped() -> None:
    """And who asks for one is told, whatever the scheme."""
    backend: Any = made("amqps://host").result_backend
    result = TaskiqResult[int](is_err=False, return_value=1, execution_time=0.0)
    await backend.set_result("id", result)
    with pytest.raises(NoResultsError, match="amqps:// keeps no results"):
        await backend.get_result("id")
    with pytest.raises(NoResultsError, match="results='redis"):
        await backend.is_result_ready("id")


def test_results_kept_elsewhere() -> None:
    backend = InmemoryResultBackend[int]()
    assert broker_from("amqp://host", backend).result_backend is backend


def test_no_place_for_results() -> None:
    with pytest.raises(BrokerURLError, match="RabbitMQ keeps no results") as caught:
        broker_from("memory://", "amqp://me:hidden@host")
    assert "hidden" not in str(caught.value)
