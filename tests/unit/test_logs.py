"""What Taskiq logs, made short."""

import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from taskiq import TaskiqMessage

from fastask.shortening import in_one_line, shortened
from fastask.worker.logs import ShortRecords

LONG = "x" * 10_000_000
MESSAGE = TaskiqMessage(
    task_id="id", task_name="shop:add", labels={"a": "hunter2"}, args=["hunter2"], kwargs={}
)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger below Taskiq's."""
    logger = logging.getLogger("taskiq.of_a_test")
    ShortRecords.install()
    yield logger
    logger.filters.clear()


def not_a_number() -> ValidationError:
    try:
        TypeAdapter(int).validate_python("hunter2")
    except ValidationError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("text", "args", "told"),
    [
        ("nothing", (), "nothing"),
        ("100 %", (), "100 %"),
        ("%d of %.1f, %s", (1, 2.5, None), "1 of 2.5, None"),
        ("%s and %r", ("a text", True), "a text and True"),
        ("%s", (b"hunter2",), "<bytes of 7>"),
        ("%s %s", (("hunter2",), {"password": "hunter2"}), "<tuple of 1> <dict of 1>"),
        ("%s", ({"password": "hunter2"},), "<dict of 1>"),
        ("%(name)s: %(size)d", ({"name": "a", "size": 2},), "a: 2"),
        ("%s", (MESSAGE,), "<shop:add (id): 1 args, 0 kwargs, 1 labels>"),
        ("%s", (not_a_number(),), "1 validation errors for int"),
        ("%s", (OSError("a\nb"),), r"a\nb"),
        (OSError("no group"), (), "no group"),
    ],
)
def test_arguments(
    logger: logging.Logger,
    caplog: pytest.LogCaptureFixture,
    text: Any,
    args: tuple[Any, ...],
    told: str,
) -> None:
    """Numbers and short texts stay; of messages and containers only the size is told."""
    logger.error(text, *args)
    assert caplog.messages == [told]


@pytest.mark.parametrize("args", [(LONG,), (OSError(LONG),)])
def test_long_arguments_are_cut(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture, args: tuple[Any, ...]
) -> None:
    """They say how long they were."""
    logger.error("%s", *args)
    [told] = caplog.messages
    assert len(told) == 500
    assert told.endswith("... (10000000 characters)")


def test_long_text_is_cut(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    """Where everything was put into the text itself."""
    logger.error(LONG)
    assert len(caplog.messages[0]) == 2000


def test_error_that_is_told_in_the_line_is_not_told_again(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """Pydantic's errors repeat values."""
    try:
        raise not_a_number()
    except ValidationError as error:
        logger.exception("can't parse: %s", error)
    assert "can't parse: 1 validation errors for int" in caplog.text
    assert "hunter2" not in caplog.text


def test_error_that_can_not_be_told_is_logged(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """Its `str` may fail."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise OSError

    try:
        raise Mute
    except Mute:
        logger.exception("failed")
    assert "Mute" in caplog.text


def test_other_loggers_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Their records are the user's."""
    ShortRecords.install()
    for name in ("taskiqs", "taskiq_of_mine", "shop", "root"):
        logging.getLogger(name).error("%s", {"a": 1})
    assert caplog.messages == ["{'a': 1}"] * 4


def test_installed_once(logger: logging.Logger) -> None:
    """However many programs there are in a process."""
    ShortRecords.install()
    ShortRecords.install()
    assert len(logger.filters) == 1


def test_nothing_is_done_for_what_is_not_logged(logger: logging.Logger) -> None:
    """A level that is off costs what it costs without us."""

    class Costly:
        def __str__(self) -> str:
            raise AssertionError

    logger.setLevel(logging.WARNING)
    logger.debug("%s", Costly())
    logger.setLevel(logging.NOTSET)


def test_taskiq_logs_where_we_look() -> None:
    """What Taskiq logs messages with is below the logger that the filter is put on."""
    for name in ("taskiq.kicker", "taskiq.receiver.receiver", "taskiq.receiver.params_parser"):
        used = vars(sys.modules[name])["logger"].name
        assert used.partition(".")[0] == "taskiq", f"{name} logs with {used!r} now"


@pytest.mark.parametrize("size", [0, 99, 100, 101, 10_000])
def test_shortened(size: int) -> None:
    """A text is never longer than it may be, and cutting it again changes nothing."""
    short = shortened("x" * size, 100)
    assert len(short) == min(size, 100)
    assert shortened(short, 100) == short


def test_one_line() -> None:
    """What is not printable is written as Python writes it."""
    assert in_one_line("a\n\x1b[31m\ud800é 日本", 100) == r"a\n\x1b[31m\ud800é 日本"
