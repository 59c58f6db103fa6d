"""What a worker tells of its broker and of what went wrong."""

import json
from types import SimpleNamespace

import pytest
from taskiq import InMemoryBroker

from fastask.masking import in_full, masked
from fastask.worker.report import described, failure


class WithURL(InMemoryBroker):
    """A broker that keeps its address, as brokers of several libraries do."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.servers = ["nats://me:secret@one:4222", "nats://two:4222"]
        self.queue_name = "mails"
        self.subject = None


class WithPool(InMemoryBroker):
    """A broker with a pool of connections, as those of taskiq-redis."""

    def __init__(self) -> None:
        super().__init__()
        kwargs = {"host": "cache", "port": 6379, "password": "secret"}
        self.connection_pool = SimpleNamespace(connection_kwargs=kwargs)


def test_broker() -> None:
    """Class, address and queue are told, and no password."""
    assert described(InMemoryBroker()) == "InMemoryBroker"
    told = described(WithURL("amqp://me:se:cr/et@host:5672/vhost"))
    assert told == (
        "WithURL (url amqp://me:***@host:5672/vhost, "
        "servers ['nats://me:***@one:4222', 'nats://two:4222'], queue_name mails)"
    )
    assert described(WithPool()) == "WithPool (at cache:6379)"


def connect(url: str) -> None:
    raise ConnectionError(f"can't reach\n  {url}")


def caught(call: object, *args: str) -> Exception:
    try:
        call(*args)  # type: ignore[operator]
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://me:secret@host/db",
        "redis://:secret@host:6379/0",
        "amqp://me:se@c:r/ret@host",
        "redis://:se'cret@host",
        "redis://secret@host",
        "redis://host/0?password=secret&db=1",
        "host=db user=me password='my secret' dbname=shop",
        "{'host': 'db', 'password': 'my secret'}",
        "API_KEY=secret",
    ],
)
def test_failure_is_one_line_without_passwords(url: str) -> None:
    """Type, words and place; passwords of URLs are left out, in the traceback too."""
    error = caught(connect, url)
    told = failure(error)
    assert told.startswith("ConnectionError: can't reach ")
    assert "ret" not in told
    assert "\n" not in told
    assert f"{__file__}:" in told
    assert told.endswith("in connect)")
    assert "ret" not in in_full(error).rpartition("ConnectionError")[2]


def test_names_and_addresses_are_shown() -> None:
    """What only looks like a secret is of use to the reader."""
    text = "two -> token -> x_token: Header(); see https://host:80/a and user me@host"
    assert masked(text) == text


def test_place_is_in_the_users_code() -> None:
    """Where a library raises, the line that called it is told."""
    error = caught(json.loads, "{")
    assert "in caught)" in failure(error)


def test_place_of_what_a_library_translated() -> None:
    """An error that a library has made of one of the user's is told with the user's line."""

    def translated() -> None:
        raise LookupError("deep")

    inner = caught(translated)
    outer = RuntimeError("shallow")  # never raised here, so it has no frame of its own
    outer.__cause__ = inner
    assert failure(outer).startswith("RuntimeError: shallow (")
    assert failure(outer).endswith("in translated)")


def test_group() -> None:
    """Of a group the first error is told, however deep it is."""
    error = caught(connect, "host")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [error]), ValueError("other")])
    assert failure(group) == failure(error)


def test_error_without_words_and_place() -> None:
    """An error that has nothing but its type is told by it."""
    assert failure(ValueError()) == "ValueError"
