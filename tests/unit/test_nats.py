"""What a NATS URL stands for, and what is known without a server."""

from __future__ import annotations

import time
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.js.errors import BadRequestError

from fastask import BrokerURLError, FastTask
from fastask.brokers import broker_from
from fastask.brokers.nats import JetStreamBroker, NATSResults, broker, results
from fastask.brokers.nats.broker import _early
from fastask.brokers.nats.buckets import key_of
from fastask.brokers.nats.connection import Connection
from fastask.brokers.nats.starts import Handle
from fastask.brokers.nats.streams import added
from fastask.brokers.url import parsed


@pytest.mark.parametrize(
    ("url", "servers", "login"),
    [
        ("nats://a", ["nats://a"], {}),
        ("tls://a:1/", ["tls://a:1"], {}),
        ("nats://a:1,b:2", ["nats://a:1", "nats://b:2"], {}),
        ("nats://a:1,nats://[::1]:2", ["nats://a:1", "nats://[::1]:2"], {}),
        (
            "nats://me:x%2Fy%2C@a:1,b:2",
            ["nats://a:1", "nats://b:2"],
            {"user": "me", "password": "x/y,"},
        ),
        (
            "nats://a:1,nats://me:x@b:2",
            ["nats://a:1", "nats://b:2"],
            {"user": "me", "password": "x"},
        ),
        ("nats://t%40ken@a", ["nats://a"], {"token": "t@ken"}),
    ],
)
def test_servers(url: str, servers: list[str], login: dict[str, str]) -> None:
    """One login is for all servers, and no server's URL shows it."""
    connection = Connection(parsed(url))
    assert connection.servers == servers
    assert connection._login == login


@pytest.mark.parametrize(
    "url", ["nats://", "nats://a,,b", "nats://me:s3,cret@a:1", "nats://a:0,b:1"]
)
def test_no_server(url: str) -> None:
    """A URL without a server says how to write it, and nothing of itself."""
    with pytest.raises(BrokerURLError, match="write it as nats://host:4222") as caught:
        broker(parsed(url))
    assert "s3" not in str(caught.value)


def test_queue() -> None:
    """The queue is a subject and names buckets, so it has to be plain."""
    with pytest.raises(BrokerURLError, match="ASCII"):
        broker(parsed("nats://a?queue=fü"))
    with pytest.raises(BrokerURLError, match="ASCII"):
        results(parsed("nats://a?queue=fü"))
    with pytest.raises(BrokerURLError, match="begin with 'KV_'"):
        broker(parsed("nats://a?queue=KV_mail_once"))


def test_made() -> None:
    """`nats://` and `tls://` make our broker with our results; no password is shown."""
    for scheme in ("nats", "tls"):
        made = broker_from(f"{scheme}://me:s3cret@a:1,b:2?queue=mail&deadline=5")
        assert isinstance(made, JetStreamBroker)
        assert isinstance(made.result_backend, NATSResults)
        assert (made.subject, made.stream_name, made.durable) == ("mail",) * 3
        assert made.address == f"{scheme}://me:***@a:1,b:2"
        seen = f"{vars(made)} {vars(made.result_backend)}"
        assert "s3cret" not in seen
    assert isinstance(
        FastTask("a:b", "memory://", results="nats://a").broker.result_backend, NATSResults
    )


async def test_not_started() -> None:
    """What was not started sends nothing, and connects to nothing."""
    made = broker(parsed("nats://a"))
    with pytest.raises(ConnectionError, match="start the broker first"):
        await made.take(1)
    with pytest.raises(ConnectionError, match="start the broker first"):
        await made.result_backend.is_result_ready("a")


@pytest.mark.parametrize("text", ["a-b_C1", "x" * 200])
def test_plain_keys(text: str) -> None:
    """A key that can be one is left as it is."""
    assert key_of(text) == text


def test_other_keys() -> None:
    """Any other text has one of its own."""
    texts = ["", "a.b", "a b", "*", ">", "ü", "\ud800", "a/b", "=", "x" * 201]
    keys = {key_of(text) for text in texts}
    assert len(keys) == len(texts)
    assert all(len(key) == 65 and key.isascii() for key in keys)


def message(reply: str = "", headers: Any = None) -> Msg:
    return Msg(None, "q", reply, b"", headers)  # type: ignore[arg-type]


def test_handles() -> None:
    """A message has the same name in each delivery, and another one in another stream."""
    first, again, other = (
        Handle.of(message(f"$JS.ACK.q.q.{delivered}.7.9.{stamp}.0"), 60)
        for delivered, stamp in ((1, 10**18), (2, 10**18), (1, 10**18 + 5000))
    )
    assert first.key == again.key != other.key
    assert (first.delivered, again.delivered) == (1, 2)
    assert first.is_ours
    assert 50 < first.until - time.monotonic() < 55  # the server has begun to count before
    first.until = time.monotonic() - 0.01
    assert not first.is_ours


@pytest.mark.parametrize(
    ("refusals", "tries"), [([], 1), ([10065], 2), ([10065, 10065], None), ([10058], None)]
)
async def test_added_by_two_at_once(refusals: list[int], tries: int | None) -> None:
    """Who adds a stream as another one does is told of an overlap (NATS 2.9.10), and asks again.

    A stream that does overlap is refused again.
    """
    calls = 0

    async def add() -> int:
        nonlocal calls
        calls += 1
        if calls <= len(refusals):
            raise BadRequestError(code=400, err_code=refusals[calls - 1])
        return calls

    if tries is None:
        with pytest.raises(BadRequestError):
            await added(add)
    else:
        assert await added(add) == tries


@pytest.mark.parametrize(
    ("due", "early"),
    [(None, 0), ("0", 0), ("soon", 0), ("nan", 0), ("inf", 1e9), ("1e300", 1e9), ("-inf", 0)],
)
def test_due(due: str | None, early: float) -> None:
    """Whatever a header says, a message comes some time."""
    assert max(0.0, _early(message(headers=due and {"Fastask-Due": due}))) == early
