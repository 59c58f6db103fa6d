"""Declarations that can never work: names that no worker takes, and what is no function."""

from typing import Any

import pytest
from fastapi import FastAPI

from fastask import FastTask, TaskOptionError, TaskRouter
from fastask.brokers.unknown import _DEAD_LETTER as DEAD_LETTER
from fastask.brokers.unreadable import INVALID_MESSAGE, CheckedFormatter
from fastask.naming import name_problem
from tests.unit.doubles import one_sentence, program


@pytest.fixture
def ft() -> FastTask:
    return FastTask(FastAPI())


async def add(a: int, b: int = 2) -> int:
    return a + b


def double(n: int) -> int:
    return 2 * n


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("n" * 1001, "1000 characters or less"),
        ("fastask:invalid_message", "fastask's own tasks"),
        ("fastask:mine", "fastask's own tasks"),
    ],
)
def test_name_that_no_worker_takes(ft: FastTask, name: str, words: str) -> None:
    """It is refused where it is written, also if a router's prefix makes it so."""
    with pytest.raises(TaskOptionError) as caught:
        ft.task(name)
    assert one_sentence(caught.value, "'name'", words)
    prefix, _, rest = name.partition(":") if ":" in name else (name[:500], "", name[:500])
    router = TaskRouter()
    task = router.task(rest)(add)
    with pytest.raises(TaskOptionError) as caught:
        ft.include_router(router, prefix=prefix)
    assert one_sentence(caught.value, "'name'", words)
    assert ft.broker.get_all_tasks() == {}
    assert not task.is_bound
    assert task.task_name == rest
    ft.include_router(router)
    assert task.is_bound


@pytest.mark.parametrize("name", ["n" * 1000, "fastasks:mine", "mail:fastask:mine"])
async def test_name_that_a_worker_takes(name: str) -> None:
    """Others are taken here and there."""
    ft, broker = program()
    await ft.task(name)(add).kiq(1)
    [sent] = broker.sent
    assert CheckedFormatter.around(broker).loads(sent.message).task_name == name


def test_own_names() -> None:
    """The tasks that fastask adds are named so that nobody else's are."""
    assert all(name_problem(name) for name in (INVALID_MESSAGE, DEAD_LETTER))


@pytest.mark.parametrize(
    ("func", "words"),
    [
        (None, "'NoneType'"),
        ("text", "'str'"),
        (5, "'int'"),
        (classmethod(lambda cls: cls), "'classmethod'"),
        (property(double), "'property'"),
    ],
)
def test_what_can_not_be_called(ft: FastTask, func: Any, words: str) -> None:
    """Something else than a function is told, and there is no such task."""
    for declare in (ft.task("named"), TaskRouter().task("named"), ft.task(timeout=5)):
        with pytest.raises(TaskOptionError) as caught:
            declare(func)
        assert one_sentence(caught.value, "'func'", words, "staticmethod")
    assert ft.broker.get_all_tasks() == {}


@pytest.mark.parametrize("kind", [classmethod, property])
def test_methods_in_the_bare_form(ft: FastTask, kind: Any) -> None:
    """The same without parentheses, where the function is."""
    with pytest.raises(TaskOptionError) as caught:
        ft.task(kind(add))
    assert one_sentence(caught.value, "'func'", f"'{kind.__name__}'", "staticmethod")
