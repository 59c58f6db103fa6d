"""Messages that no client of ours would send: by kind, with what their senders are told."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

ID = "the-bad-one"
SECRET = "hunter2"  # stands for whatever no log may show
HUGE = 10 * 2**20
HUGE_SECRET = SECRET * (HUGE // len(SECRET))
ADD = "shop:add"  # def add(n: int, pool: Pool = Depends(get_pool))
COUNT = "shop:count"  # def count(numbers: list[int])
PRICES = "shop:prices"  # def prices(of: dict[str, int])
RETRIED = "shop:retried"  # def retried(n: int), with retries


class Bad(NamedTuple):
    """A message that is no good.

    Attributes:
        raw: makes its bytes.
        error: the class of the error that the sender gets; none where nobody can be told.
        told: a part of the error's text, or of the one line in the log.
    """

    raw: Callable[[], bytes]
    error: str
    told: str


def message(**fields: Any) -> bytes:
    """Write a message as Taskiq does; a field that is `...` is left out."""
    usual = {"task_id": ID, "task_name": ADD, "labels": {}, "args": [1], "kwargs": {}}
    given = {**usual, **fields}
    return json.dumps({name: value for name, value in given.items() if value is not ...}).encode()


def _arguments(told: str, **fields: Any) -> Bad:
    return Bad(lambda: message(**fields), "InvalidArgumentsError", told)


def _form(told: str, **fields: Any) -> Bad:
    return Bad(lambda: message(**fields), "InvalidMessageError", told)


def _label(told: str, label: str, value: Any, **fields: Any) -> Bad:
    return _form(f"its label {label!r} is not {told}", labels={label: value}, **fields)


def _bytes(raw: bytes, told: str, error: str = "") -> Bad:
    return Bad(lambda: raw, error, told)


def _nested(depth: int) -> bytes:
    return message(args=["here"]).replace(b'"here"', b"[" * depth + b"]" * depth)


ARGUMENTS = {
    "wrong": _arguments("n: Input should be a valid integer", args=[SECRET]),
    "missing": _arguments("n: Missing required argument", args=[]),
    "extra": _arguments("Unexpected positional argument", args=[1, SECRET, SECRET]),
    "at the place of an injected one": _arguments("pool: is injected", args=[1, SECRET]),
    "unknown": _arguments("size: Unexpected keyword argument", kwargs={"size": SECRET}),
    "forged": _arguments("pool: is injected by the worker", kwargs={"pool": SECRET}),
    "of an older signature": _arguments("to: Unexpected", args=[], kwargs={"n": 1, "to": SECRET}),
    "given twice": _arguments("n: Got multiple values", kwargs={"n": SECRET}),
    "lone surrogate": _arguments("n: Input should be a valid", args=["\ud800"]),
    "name that forges a line": _arguments(r"a\nERROR b: Unexpected", kwargs={"a\nERROR b": 1}),
    "name that is no text": _arguments("unicode string", kwargs={"\ud800": SECRET}),
    "many wrong items": _arguments("more", task_name=COUNT, args=[[SECRET] * 20_000]),
}
FORMS = {
    "args are a number": _form("args: Input should be a valid list", args=5),
    "args are a text": _form("args: Input should be a valid list", args=SECRET),
    "kwargs are a list": _form("kwargs: Input should be a valid dictionary", kwargs=[SECRET]),
    "no name": _form("task_name: Field required", task_name=...),
    "name is a number": _form("task_name: Input should be a valid string", task_name=5),
    "labels are null": _form("labels: Input should be a valid dictionary", labels=None),
    "labels that can't be parsed": _form(
        "its labels", labels={"size": SECRET}, labels_types={"size": 2}
    ),
    "labels of unknown types": _form(
        "its labels", labels={"size": SECRET}, labels_types={"size": 99}
    ),
    "cut off": Bad(lambda: message(args=[SECRET])[:-3], "InvalidMessageError", "JSONDecodeError"),
    "too deep": Bad(lambda: _nested(100_000), "InvalidMessageError", "RecursionError"),
    "number too long": Bad(
        lambda: message().replace(b"[1]", b"[" + b"1" * 5000 + b"]"),
        "InvalidMessageError",
        "can't be decoded",
    ),
    "not UTF-8": Bad(
        lambda: message(args=[SECRET]).replace(b"hunter2", b"\xffhunter2"),
        "InvalidMessageError",
        "UnicodeDecodeError",
    ),
}
LABELS = {
    "ack_type": _label("one of when_received, when_executed", "ack_type", SECRET),
    "ack_type that is a list": _label("one of", "ack_type", [SECRET]),
    "timeout": _label("a number of seconds", "timeout", SECRET),
    "timeout that is a mapping": _label("a number of seconds", "timeout", {SECRET: 1}),
    "timeout that is no number": _label("a number of seconds", "timeout", "nan"),
    "number of retries": _label("a whole number", "_retries", SECRET, task_name=RETRIED),
    "number of hand-backs": _label("a whole", "X-Taskiq-requeue", SECRET, task_name="shop:new"),
}
HUGE_ONES = {
    "huge value": Bad(
        lambda: message(args=[HUGE_SECRET]), "InvalidArgumentsError", "n: Input should be"
    ),
    "huge name": Bad(
        lambda: message(kwargs={"n" * HUGE: SECRET}), "InvalidArgumentsError", "nnn... ("
    ),
    "huge key": Bad(
        lambda: message(task_name=PRICES, args=[{"k" * HUGE: SECRET}]),
        "InvalidArgumentsError",
        "kkk... (",
    ),
    "huge task name": Bad(
        lambda: message(task_name="n" * HUGE), "InvalidMessageError", "its task name has 10485760"
    ),
    "huge args": Bad(
        lambda: message(args=HUGE_SECRET), "InvalidMessageError", "args: Input should be"
    ),
    "huge label": Bad(
        lambda: message(labels={"timeout": HUGE_SECRET}), "InvalidMessageError", "'timeout'"
    ),
    "huge bytes": Bad(lambda: b"\xff" + HUGE_SECRET.encode(), "", "of 10485756 bytes"),
    "huge text": Bad(lambda: json.dumps(HUGE_SECRET).encode(), "", "of 10485757 bytes"),
}
NAMELESS = {
    "nothing": _bytes(b"", "of 0 bytes"),
    "bytes": _bytes(b"\xff\xfehunter2", "(UnicodeDecodeError)"),
    "null": _bytes(b"null", "Input should be a valid dictionary"),
    "list": _bytes(b'["hunter2"]', "Input should be a valid dictionary"),
    "no id": Bad(lambda: message(task_id=..., args=[SECRET]), "", "task_id: Field required"),
    "id is a number": Bad(lambda: message(task_id=5), "", "task_id: Input should be a valid"),
    "id is no text": Bad(lambda: message(task_id="\ud800", args=[SECRET]), "", "is no text"),
}
KINDS = {**ARGUMENTS, **FORMS, **LABELS, **HUGE_ONES, **NAMELESS}
