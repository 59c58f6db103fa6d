"""Nothing is unpickled by fastask, and it tells of backends that do."""

import pytest
from fastapi import FastAPI
from taskiq.serializers import JSONSerializer, PickleSerializer
from taskiq_redis import RedisAsyncResultBackend

from fastask import FastTask
from tests.unit.doubles import RecordingBroker


async def started(broker: RecordingBroker) -> None:
    app = FastAPI()
    async with FastTask(app, broker).lifespan()(app):
        assert broker.events == ["broker up"]


async def test_results_that_are_unpickled(caplog: pytest.LogCaptureFixture) -> None:
    """The process that starts the broker says which backend does it, and the remedy."""
    await started(RecordingBroker().with_result_backend(RedisAsyncResultBackend("redis://x")))
    [record] = caplog.records
    assert record.levelname == "WARNING"
    told = record.getMessage()
    assert told.startswith("RedisAsyncResultBackend unpickles results")
    assert "JSONSerializer()" in told


async def test_messages_that_are_unpickled(caplog: pytest.LogCaptureFixture) -> None:
    """So does a broker's serializer."""
    await started(RecordingBroker().with_serializer(PickleSerializer()))
    [record] = caplog.records
    assert record.getMessage().startswith("RecordingBroker unpickles messages")


async def test_nothing_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    """Other serializers are nothing to tell of, nor is a backend without one."""
    backend = RedisAsyncResultBackend[object]("redis://x", serializer=JSONSerializer())
    await started(RecordingBroker().with_result_backend(backend))
    await started(RecordingBroker())
    assert caplog.records == []
