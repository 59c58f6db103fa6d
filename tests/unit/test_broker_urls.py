"""Broker URLs: what they are made of, and what is wrong with them."""

import asyncio
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from taskiq.serializers import JSONSerializer
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

from fastask import BrokerUnavailableError, BrokerURLError, FastTask, NotSentError
from fastask.brokers import MemoryBroker, broker_from
from fastask.brokers.durable import DurableBroker
from fastask.brokers.url import Settings, parsed, resolved
from tests.integration.processes import free_port


def test_defaults() -> None:
    """Without a query, a URL has the settings of the documentation."""
    url = parsed("redis://localhost:6379/2")
    assert url.settings == Settings("taskiq", 60.0, 25, 86_400, 0.0)
    assert (url.scheme, url.address) == ("redis", "redis://localhost:6379/2")


def test_query() -> None:
    """The query sets what a broker has to know, and is no part of the address."""
    url = parsed("nats://a:1,b:2?queue=mail&deadline=2.5&prefetch=3&results_ttl=60&wait=60")
    assert url.settings == Settings("mail", 2.5, 3, 60, 60.0)
    assert url.address == "nats://a:1,b:2"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("qeue=a", "there is no 'qeue'; did you mean 'queue'?"),
        ("result_ttl=5", "did you mean 'results_ttl'?"),
        ("zzz=1", "there is no 'zzz'; it may set queue, deadline"),
        ("queue=a&queue=b", "'queue' is set twice"),
        ("queue=", "queue must be up to 100 letters"),
        ("queue=a.b", "queue must be"),
        ("deadline=soon", "deadline must be a number of seconds, 1 or more, not 'soon'"),
        ("deadline=0.5", "deadline must be"),
        ("deadline=inf", "deadline must be"),
        ("deadline=nan", "deadline must be"),
        ("prefetch=0", "prefetch must be a whole number, 1 or more"),
        ("prefetch=1.5", "prefetch must be"),
        ("results_ttl=-1", "results_ttl must be"),
        ("wait=-1", "wait must be"),
    ],
)
@pytest.mark.parametrize("scheme", ["redis", "sqlite", "amqp"])
def test_settings_that_are_no_good(scheme: str, query: str, told: str) -> None:
    """What a query may set is the same for every URL; the rest is refused."""
    with pytest.raises(BrokerURLError) as caught:
        parsed(f"{scheme}://localhost?{query}")
    assert told in str(caught.value)
    assert caught.value.scheme == scheme


@pytest.mark.parametrize("name", ["queue", "deadline", "prefetch", "wait"])
def test_settings_in_memory(name: str) -> None:
    """`memory://` refuses what it does not heed."""
    with pytest.raises(BrokerURLError) as caught:
        broker_from(f"memory://?{name}=5")
    told = f"'{name}' means nothing in memory; it may set results_ttl"
    assert str(caught.value).endswith(told)


@pytest.mark.parametrize("url", ["memory://localhost", "memory:///tasks.db"])
def test_place_in_memory(url: str) -> None:
    """`memory://` is nowhere."""
    with pytest.raises(BrokerURLError, match="it names no place; write memory://"):
        broker_from(url)


@pytest.mark.parametrize("url", ["sqlite:///results.db", "redis://two", "nats://two"])
@pytest.mark.parametrize("name", ["deadline", "prefetch"])
def test_settings_of_results(url: str, name: str) -> None:
    """Where results alone are kept, what concerns messages is refused."""
    with pytest.raises(BrokerURLError) as caught:
        broker_from("memory://", f"{url}?{name}=5")
    told = f"'{name}' means nothing where only results are kept"
    assert str(caught.value).endswith(f"{told}; it may set queue, results_ttl and wait")
    broker_from("memory://", f"{url}?queue=a&results_ttl=5&wait=5")


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:hunter2@127.0.0.1:{port}/0",
        "nats://me:hunter2@127.0.0.1:{port}",
        "sqlite:///{folder}/no/such/results.db",
    ],
)
async def test_results_are_away(url: str, tmp_path: Path) -> None:
    """A start needs the place of the results, and names it without its password."""
    url = url.format(port=free_port(), folder=tmp_path)
    ft = FastTask(app := FastAPI(), f"sqlite:///{tmp_path}/tasks.db", results=url)
    app.router.lifespan_context = ft.lifespan()
    with pytest.raises(BrokerUnavailableError) as caught:
        async with asyncio.timeout(5), app.router.lifespan_context(app):
            pass
    assert caught.value.address == url.replace("hunter2", "***")
    assert "hunter2" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize("scheme", ["redis", "nats"])
async def test_results_are_waited_for(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    """With `wait` in its URL, the place of the results is tried again."""
    url = f"{scheme}://127.0.0.1:{free_port()}?wait=1"
    ft = FastTask(app := FastAPI(), results=url)
    app.router.lifespan_context = ft.lifespan()
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(BrokerUnavailableError):
        async with asyncio.timeout(5), app.router.lifespan_context(app):
            pass
    assert loop.time() - start >= 1
    assert "waiting for it, 1 s left" in caplog.text


def test_unknown_scheme() -> None:
    """A URL that no broker is made from names those that there are."""
    with pytest.raises(BrokerURLError, match=r"kafka://.*memory://, sqlite://, redis://"):
        broker_from("kafka://localhost")


@pytest.mark.parametrize("nothing", [None, "memory://"])
def test_embedded(nothing: str | None) -> None:
    """Nothing, and `memory://`, are the embedded broker."""
    assert isinstance(broker_from(nothing), MemoryBroker)


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`env:NAME` is the URL that the environment has."""
    monkeypatch.setenv("TASKS_URL", "redis://localhost?queue=mail")
    made = FastTask(FastAPI(), "env:TASKS_URL").broker
    assert isinstance(made, DurableBroker)
    assert made.settings.queue == "mail"


def test_environment_from_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """What surrounds the URL, as in a file with a secret, is no part of it."""
    monkeypatch.setenv("TASKS_URL", " sqlite:///tasks.db\n")
    assert resolved("env:TASKS_URL") == "sqlite:///tasks.db"


@pytest.mark.parametrize("value", [None, "", "\n"])
def test_environment_without_it(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """A variable that is not set is named."""
    monkeypatch.delenv("TASKS_URL", raising=False)
    if value is not None:
        monkeypatch.setenv("TASKS_URL", value)
    with pytest.raises(BrokerURLError) as caught:
        broker_from("env:TASKS_URL")
    told = "broker URL 'env:TASKS_URL': set the environment variable TASKS_URL to a broker URL"
    assert str(caught.value) == told


@pytest.mark.parametrize("name", ["", "redis://me:hunter2@localhost"])
def test_environment_without_a_name(name: str) -> None:
    """What can be no variable's name is not shown."""
    with pytest.raises(BrokerURLError) as caught:
        broker_from(f"env:{name}")
    told = "broker URL 'env:': name an environment variable, such as env:TASKS_URL"
    assert str(caught.value) == told


def test_environment_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with a variable's URL is told without the password in it."""
    monkeypatch.setenv("TASKS_URL", "redis://me:hunter2@localhost?qeue=a")
    with pytest.raises(BrokerURLError) as caught:
        broker_from("env:TASKS_URL")
    assert "hunter2" not in str(caught.value)


def test_redis() -> None:
    """A Redis URL gives Taskiq's stream broker, and JSON results that expire."""
    made = broker_from("redis://localhost:6379/0?queue=mail&results_ttl=5")
    assert isinstance(made, RedisStreamBroker)
    backend: Any = made.result_backend
    assert isinstance(backend, RedisAsyncResultBackend)
    assert isinstance(backend.serializer, JSONSerializer)
    assert backend.result_ex_time == 5
    assert backend.prefix_str == "mail"


def test_results_elsewhere() -> None:
    """Results can be kept where another URL says."""
    made = broker_from("redis://one", "redis://two?queue=other")
    backend: Any = made.result_backend
    assert backend.redis_pool.connection_kwargs["host"] == "two"


def test_results_of_a_broker_object() -> None:
    """A broker object can be given the result backend of a URL, or one that is made."""
    plain = ListQueueBroker("redis://one")
    assert broker_from(plain, "redis://two") is plain
    assert isinstance(plain.result_backend, RedisAsyncResultBackend)
    backend: RedisAsyncResultBackend[Any] = RedisAsyncResultBackend("redis://three")
    assert FastTask(FastAPI(), plain, results=backend).broker.result_backend is backend


def test_results_in_memory() -> None:
    """Results of workers can't be kept in one process."""
    with pytest.raises(BrokerURLError, match="can't be seen by others"):
        broker_from("redis://one", "memory://")


def test_results_that_are_none() -> None:
    """What is no result backend is told by its type."""
    with pytest.raises(TypeError, match="not int"):
        broker_from("redis://one", 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [
        ("redis://localhost", "redis", "redis"),
        ("nats://localhost", "nats", "nats"),
        ("amqp://localhost", "aio_pika", "rabbitmq"),
    ],
)
def test_missing_extra(url: str, package: str, extra: str) -> None:
    """What is not installed is told with the command that installs it."""
    code = (
        "import sys\n"
        f"sys.modules[{package!r}] = None\n"
        "from fastask import BrokerURLError, FastTask\n"
        "try:\n"
        f"    FastTask('a:b', {url!r})\n"
        "except BrokerURLError as error:\n"
        "    print(error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert f"pip install 'taskiq-fastask[{extra}]'" in ran.stdout, ran.stderr


def test_repr_has_no_password() -> None:
    """Neither the URL nor the program shows a password."""
    url = parsed("redis://me:hunter2@localhost/0")
    shown = repr(url) + url.shown + repr(FastTask("a:b", "redis://me:hunter2@localhost/0"))
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("module", "name", "url"),
    [
        ("sqlite", "SQLiteBroker", "sqlite:///tasks.db?queue=mail"),
        ("redis", "RedisBroker", "redis://localhost?queue=mail"),
        ("nats", "JetStreamBroker", "nats://localhost?queue=mail"),
        ("rabbitmq", "RabbitBroker", "amqp://localhost?queue=mail"),
    ],
)
def test_classes(module: str, name: str, url: str) -> None:
    """The class of a URL's broker takes the URL, too, and has the same result backend."""
    made = getattr(import_module(f"fastask.brokers.{module}"), name)(url)
    same: Any = broker_from(url)
    assert type(made) is type(same)
    assert type(made.result_backend) is type(same.result_backend)
    assert made.settings.queue == "mail"


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("ConnectionError: refused", "check that its server runs and can be reached"),
        ("OutOfMemoryError: command not allowed", "its server runs and refuses it"),
        ("StorageError: a.db: the disk is full; make room on it", ""),
        ("ValueError: too long; raise max_payload", ""),
    ],
)
def test_remedies(reason: str, remedy: str) -> None:
    """Who could not send is told to start a server only where that may help."""
    told = str(NotSentError("a:b", "Broker", reason)).partition("did not take it")[2]
    assert told.startswith(f" ({reason})")
    assert told.partition(f"({reason})")[2].startswith(f"; {remedy}" if remedy else "")
    assert bool(remedy) is ("; " in told.partition(f"({reason})")[2])
