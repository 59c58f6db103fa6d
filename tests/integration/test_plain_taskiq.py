"""Plain Taskiq and fastask side by side, in processes: the same names, the same messages.

So a fleet can be moved over one process at a time.
"""

import json
import signal
import uuid
from typing import Any, NamedTuple

import pytest

from tests.integration.plain_programs import SIDES, told, written
from tests.integration.processes import worker

# What is called, and what comes back; both are expressions in the module.
CALLS = {
    "positional": ("add.kiq(1, 3)", "4"),
    "by keyword": ("add.kiq(a=1, b=3)", "4"),
    "mixed": ("add.kiq(1, b=3)", "4"),
    "default": ("add.kiq(1)", "3"),
    "variadic, in a thread": ("join.kiq('a', 'b', by='-')", "'a-b'"),
    "text": ("join.kiq('größe', '\\u2603')", "'größe \\u2603'"),
    "dependency": ("based.kiq(1)", "101"),
    "model": ("order.kiq(ORDER)", "ORDER"),
    "model by keyword": ("order.kiq(order=ORDER)", "ORDER"),
    "dataclass": ("point.kiq(Point(1, 0.5))", "Point(1, 0.5)"),
    "datetime, timedelta": ("when.kiq(DUE, timedelta(hours=1))", "DUE + timedelta(hours=1)"),
    "UUID": ("key.kiq(KEY)", "KEY"),
    "Decimal": ("price.kiq(Decimal('1.10'))", "Decimal('1.10')"),
    "enum": ("colour.kiq(Colour.BLUE)", "Colour.BLUE"),
    "list of models": (
        "parts.kiq([Part(name='nut'), Part(name='bolt', size=2)])",
        "[Part(name='bolt', size=2), Part(name='nut')]",
    ),
    "dict of models": ("named.kiq({'a': Part(name='nut')})", "{'A': Part(name='nut')}"),
    "None": ("nothing.kiq(None)", "None"),
    "None by default": ("nothing.kiq()", "None"),
    "not None": ("nothing.kiq(value=Part(name='nut'))", "Part(name='nut')"),
    "JSON for Any": (
        "loose.kiq({'a': [1, None, 'x', 1.5, True]})",
        "{'a': [1, None, 'x', 1.5, True]}",
    ),
    "what JSON changes, for Any": (
        "loose.kiq({'a': KEY, 'b': DUE, 'c': (Decimal('1.10'), {'x'}), 'd': PART})",
        "{'a': str(KEY), 'b': f'{DUE:%FT%T.%fZ}', 'c': ['1.10', ['x']], 'd': dict(PART)}",
    ),
    "what JSON changes, in a dict": (
        "bare.kiq({'a': KEY, 1: b'text'})",
        "{'a': str(KEY), '1': 'text'}",
    ),
    "declared labels": ("with_labels.kiq(4)", "4"),
    "labels of one message": (
        "with_labels.kicker().with_labels(queue='other', more=1.5).kiq(4)",
        "4",
    ),
    "id of one message": ("add.kicker().with_task_id(str(KEY)).kiq(1)", "3"),
}
FAILING = {
    "an exception of Python's": ("fail.kiq('gone', 3)", "builtins.ValueError", "('gone', 3)"),
    "an exception of the module's": ("fail.kiq('gone')", "program.OutOfStockError", "gone"),
}
# What is not run here, only recorded.
SCHEDULING = {
    "cron": "add.schedule_by_cron(source, '*/5 * * * *', 1, b=3)",
    "interval": "order.schedule_by_interval(source, timedelta(seconds=30), order=ORDER)",
    "time": "parts.schedule_by_time(source, DUE, [Part(name='nut')])",
    "scheduled with labels": (
        "with_labels.kicker().with_labels(queue='other').with_schedule_id('chosen')"
        ".schedule_by_interval(source, 30)"
    ),
}
SCHEDULED = {"weekly": "weekly.kiq(2)", "often": "often.kiq(Part(name='nut'))"}


class Exchange(NamedTuple):
    """What a client of one side got from a worker of the other one."""

    client: str
    outcomes: dict[str, dict[str, Any]]
    client_knows_fastask: bool
    worker_log: str


@pytest.fixture(scope="module", params=["plain to fastask", "fastask to plain"])
def exchange(
    request: pytest.FixtureRequest, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Exchange:
    """A client of one side sends all calls to a worker of the other one."""
    client, _, receiving = request.param.split()
    folder = tmp_path_factory.mktemp("exchange")
    ours, theirs = written(folder / client, client), written(folder / receiving, receiving)
    environment = {"REDIS_URL": redis_url, "QUEUE": f"test_{uuid.uuid4().hex}"}
    failing = {name: (call, "None") for name, (call, _, _) in FAILING.items()}
    fleet = {"fleet": ("knows_fastask.kiq()", repr(receiving == "fastask"))}
    calls = {**CALLS, **failing, **fleet}
    with worker("program:broker", "--workers", "1", cwd=theirs, **environment) as working:
        outcomes, knows = told(ours, "client", list(calls.values()), **environment)
        if receiving == "fastask":
            working.send(signal.SIGTERM)
            assert working.wait() == 0, working.log
        else:
            working.send(signal.SIGKILL)  # as SIGTERM does not end plain Taskiq 0.13 reliably
    return Exchange(client, dict(zip(calls, outcomes, strict=True)), knows, working.log)


@pytest.mark.redis
def test_plain_side_has_no_fastask(exchange: Exchange) -> None:
    """It does not even import it, be it the client or the worker."""
    assert exchange.client_knows_fastask is (exchange.client == "fastask")
    assert exchange.outcomes["fleet"]["waited"]["same"], exchange.outcomes["fleet"]


@pytest.mark.redis
@pytest.mark.parametrize("name", CALLS)
def test_value_travels_there_and_back(exchange: Exchange, name: str) -> None:
    """The worker gets the annotated types, and the client the same value in the same type."""
    ways = ["waited", "typed"] if exchange.client == "fastask" else ["waited"]
    assert list(exchange.outcomes[name]) == ways
    for way in ways:
        assert exchange.outcomes[name][way].get("same"), exchange.outcomes[name]


@pytest.mark.redis
@pytest.mark.parametrize("name", FAILING)
def test_exception_comes_back(exchange: Exchange, name: str) -> None:
    """In its class and with its message, as `wait_result` and `result` give it."""
    _, error, text = FAILING[name]
    for outcome in exchange.outcomes[name].values():
        assert outcome == {"error": error, "text": text}


@pytest.mark.redis
def test_worker_reads_every_argument(exchange: Exchange) -> None:
    """Taskiq would only warn of what it can't parse; nothing fails but what has to."""
    assert "Can't parse" not in exchange.worker_log
    assert exchange.worker_log.count("Traceback") <= len(FAILING)


@pytest.mark.redis
def test_argument_of_a_plain_client_that_does_not_fit(
    redis_url: str, queue: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The plain client, which checks nothing, gets a failed result that names the parameter."""
    folder = tmp_path_factory.mktemp("misfit")
    plain, fastask = (written(folder / side, side) for side in SIDES)
    environment = {"REDIS_URL": redis_url, "QUEUE": queue}
    with worker("program:broker", "--workers", "1", cwd=fastask, **environment):
        calls = [("add.kiq('many')", "None"), ("based.kiq(1, base=2)", "None")]
        outcomes, _ = told(plain, "client", calls, **environment)
    for outcome, parts in zip(outcomes, [("add", "a"), ("based", "base")], strict=True):
        error, text = outcome["waited"].values()
        assert error.endswith(".InvalidArgumentsError")
        assert f"program:{parts[0]}" in text
        assert f"'{parts[1]}'" in text
        assert "many" not in text


Records = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """What each side sends and schedules for the same calls; the ids are the same, too."""
    folder = tmp_path_factory.mktemp("records")
    calls = {name: call for name, (call, _) in CALLS.items()}
    calls |= {**SCHEDULING, **SCHEDULED, "labels": ""}
    found: Records = {}
    for side in SIDES:
        recorded, knows = told(written(folder / side, side), "recorder", list(calls.values()))
        assert knows is (side == "fastask")
        found[side] = dict(zip(calls, recorded, strict=True))
    return found


@pytest.mark.parametrize("name", CALLS)
def test_messages_are_equal(records: Records, name: str) -> None:
    """To the letter: name, arguments, labels and their types."""
    [message], scheduled = records["fastask"][name]
    assert ([message], scheduled) == tuple(records["plain"][name])
    assert json.loads(message["message"])["task_name"] == f"program:{CALLS[name][0].split('.')[0]}"


@pytest.mark.parametrize("name", SCHEDULING)
def test_schedules_are_equal(records: Records, name: str) -> None:
    """What `schedule_by_...` leaves in a source is what plain Taskiq leaves there."""
    sent, [schedule] = records["fastask"][name]
    assert (sent, json.dumps([schedule])) == ([], json.dumps(records["plain"][name][1]))


def test_schedules_in_labels_are_equal(records: Records) -> None:
    """The scheduler finds the same ones, and sends the same messages."""
    sent, scheduled = records["fastask"]["labels"]
    assert [one["task_name"] for one in scheduled] == ["program:often", "program:weekly"]
    assert [one["task_name"] for one in sent] == ["program:often", "program:weekly"]
    assert json.dumps([sent, scheduled]) == json.dumps(records["plain"]["labels"])


@pytest.mark.parametrize("name", SCHEDULED)
def test_schedule_is_no_part_of_a_message(records: Records, name: str) -> None:
    """The one difference: plain Taskiq sends the schedule along, as text that nobody reads."""
    [plain], [fastask] = records["plain"][name][0], records["fastask"][name][0]
    message = json.loads(plain["message"])
    for labels in (plain["labels"], message["labels"], message["labels_types"]):
        del labels["schedule"]
    assert json.dumps(message) == fastask["message"]
    assert plain["labels"] == fastask["labels"]
