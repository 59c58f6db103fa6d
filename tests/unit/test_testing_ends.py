"""Nothing of a test goes on after it."""

import asyncio
import logging
import threading

import pytest
from taskiq import TaskiqEvents

import fastask.testing.underway
from tests.unit.doubles import PATIENCE, remaining
from tests.unit.office import Office, swallowed
from tests.unit.shop import Shop
from tests.unit.test_testing_restores import snapshot

both = pytest.mark.parametrize("how", ["sync", "async"])


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def test_running_task_is_waited_for(office: Office) -> None:
    """A task that runs when the test ends is run to its end, within the lifespan."""
    async with asyncio.timeout(PATIENCE), office.ft.testing() as tasks:
        await office.begin(office.slow)
        asyncio.get_running_loop().call_soon(office.go.set)
    assert [sent.state for sent in tasks.sent] == ["succeeded"] * 2
    assert office.events == ["child", "slow", "lifespan down"]


async def test_task_that_has_just_been_sent(office: Office) -> None:
    """So is one that is about to begin."""
    office.go.set()
    async with asyncio.timeout(PATIENCE), office.ft.testing() as tasks:
        sending = asyncio.create_task(office.slow.kiq())
        await asyncio.sleep(0)
    assert [sent.state for sent in tasks.sent] == ["succeeded"] * 2
    await sending


async def test_retry_that_is_about_to_begin(office: Office) -> None:
    """So is the retry of one that has just failed."""

    @office.ft.task("flaky", retries=1)
    async def flaky() -> None:
        if tasks.sent[0].attempts == 1:
            raise LookupError

    async with asyncio.timeout(PATIENCE), office.ft.testing() as tasks:
        sending = asyncio.create_task(flaky.kiq())
        while tasks.session._underway._runs or not tasks.session.runs.is_going_on:
            await asyncio.sleep(0)
    assert (tasks.sent[0].state, tasks.sent[0].attempts) == ("succeeded", 2)
    await sending


async def test_error_after_the_test(office: Office) -> None:
    """An error that comes while leaving waits is raised."""

    @office.ft.task("failing")
    async def failing() -> None:
        await office.slow.kiq()
        raise LookupError("late")

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with asyncio.timeout(PATIENCE), office.ft.testing():
            await office.begin(failing)
            office.go.set()
    assert repr(caught.value.exceptions) == "(LookupError('late'),)"


@pytest.mark.parametrize("name", ["stubborn", "blocking", "plain"])
@both
def test_task_that_takes_too_long(
    office: Office, name: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cancelled and told of; what it sends then is refused, and nothing goes on."""
    monkeypatch.setattr(fastask.testing.underway, "_PATIENCE", 0.02)
    task = getattr(office, name)
    end = threading.Timer(0.1, office.go.set)

    async def main() -> None:
        async with office.ft.testing():
            await office.begin(task)
            end.start()

    before = snapshot(office.broker)
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        if how == "async":
            asyncio.run(main())
        with office.ft.testing():
            sending = threading.Thread(target=lambda: asyncio.run(swallowed(task)))
            sending.start()
            assert office.started.wait(PATIENCE)
            end.start()
    if how == "sync":
        sending.join(PATIENCE)
    words = f"task '{name}' still ran when ft.testing() was left, and was cancelled"
    assert words in str(caught.value.exceptions[0])
    assert office.events == ["lifespan down"]
    assert snapshot(office.broker) == before


@pytest.mark.parametrize("name", ["blocking", "plain"])
async def test_thread_of_a_test_that_has_no_time(office: Office, name: str) -> None:
    """Who is cancelled, by a timeout of the test, lets no thread go on after the test."""
    async with asyncio.timeout(PATIENCE), office.ft.testing(raise_errors=False) as tasks:
        end = threading.Timer(0.1, office.go.set)
        with pytest.raises(TimeoutError):  # noqa: PT012
            async with asyncio.timeout(0.02):
                sending = getattr(office, name).kiq()
                end.start()
                await sending
    assert [sent.name for sent in tasks.sent] == [name, "child"]
    assert office.events == ["child", "lifespan down"]


async def test_what_cannot_be_cancelled_is_told(
    office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Leaving waits for it, and says for what."""
    monkeypatch.setattr(fastask.testing.underway, "_PATIENCE", 0.01)

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            office.go.set()

    logger = logging.getLogger("fastask.testing")
    logger.addHandler(handler := Handler())
    try:
        async with asyncio.timeout(PATIENCE), office.ft.testing(raise_errors=False) as tasks:
            await office.begin(office.blocking)
    finally:
        logger.removeHandler(handler)
    assert "waits for what can't be cancelled: ['blocking']" in caplog.text
    assert isinstance(tasks.sent[0].error, RuntimeError)


async def test_test_that_is_cancelled(office: Office) -> None:
    """Who stops a test does not wait: what runs is cancelled at once."""
    asleep = asyncio.Event()

    async def main() -> None:
        async with office.ft.testing(raise_errors=False):
            await office.begin(office.stubborn)
            asleep.set()
            await asyncio.Event().wait()

    running = asyncio.create_task(main())
    async with asyncio.timeout(PATIENCE):
        await asleep.wait()
    running.cancel()
    await asyncio.wait([running], timeout=PATIENCE)  # which is less than it would wait otherwise
    assert running.cancelled()
    assert office.events == ["lifespan down"]


async def test_cancelled_while_leaving(office: Office) -> None:
    """So it is when leaving waits already; the lifespan is left after it."""
    leaving = asyncio.Event()

    async def main() -> None:
        async with office.ft.testing(raise_errors=False):
            await office.begin(office.stubborn)
            leaving.set()

    running = asyncio.create_task(main())
    async with asyncio.timeout(PATIENCE):
        await leaving.wait()
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert office.events == ["lifespan down"]
    assert remaining() == set()


async def test_loop_that_leaving_blocks(office: Office) -> None:
    """What runs in the very event loop that leaving blocks is told at once, and stored nowhere."""
    with (  # noqa: PT012
        pytest.raises(ExceptionGroup, match="slow"),
        office.ft.testing(lifespan=False) as tasks,
    ):
        sending = asyncio.create_task(swallowed(office.slow))
        await asyncio.to_thread(office.started.wait, PATIENCE)
    office.go.set()
    async with asyncio.timeout(PATIENCE):
        await sending
    assert tasks.sent[0].state == "failed"


async def test_use_after_leaving(shop: Shop) -> None:
    """What was left sends nothing, and overrides nothing for good."""
    async with shop.ft.testing() as tasks:
        pass
    with shop.ft.testing() as plain:
        pass
    with pytest.raises(RuntimeError, match="was left"):
        await tasks.run(shop.price, "pen")
    with pytest.raises(RuntimeError, match="was left"):
        await tasks.run_all()
    with pytest.raises(RuntimeError, match="was left"):
        await tasks.due()
    for each in (tasks, plain):
        with pytest.raises(RuntimeError, match="was left"):
            each.override(shop.send, shop.send)
    assert shop.app.dependency_overrides == {}


@both
def test_state_of_the_broker(shop: Shop, how: str) -> None:
    """What a startup has put there is there for nested tests, and gone with the outermost one."""
    state = shop.broker.state
    state.own = "own"
    shop.broker.add_event_handler(
        TaskiqEvents.WORKER_STARTUP,
        lambda state: state.update(pool="of the test", own="of the test"),
    )

    async def main() -> None:
        async with shop.ft.testing():
            async with shop.ft.testing():
                pass
            assert state.pool == "of the test"

    if how == "async":
        asyncio.run(main())
    else:
        with shop.ft.testing() as tasks:
            tasks.run(shop.price, "pen")
            assert state.pool == "of the test"
    assert shop.broker.state is state
    assert dict(state) == {"own": "own"}


def test_other_event_loops(shop: Shop) -> None:
    """Where no event loop of asyncio runs, as with trio, the error says what is needed."""
    with pytest.raises(RuntimeError, match="let the fixture anyio_backend give 'asyncio'"):
        shop.ft.testing().__aenter__().send(None)
    with shop.ft.testing("later") as tasks:
        asyncio.run(shop.send_item("pen"))
        with pytest.raises(RuntimeError, match="anyio_backend"):
            tasks.session.runs.run_all(1).send(None)
    assert tasks.sent[0].attempts == 0
