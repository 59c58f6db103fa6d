"""Routers of tasks: prefixes, nesting, and who includes whom."""

from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI

from fastask import (
    DuplicateTaskError,
    FastTask,
    RouterIncludedError,
    TaskOptionError,
    TaskRouter,
    UnboundTaskError,
)
from tests.unit.doubles import RecordingBroker, one_sentence, program


async def send(n: int = 1) -> int:
    return n


async def another(n: int = 1) -> int:
    return -n


def names(ft: FastTask) -> list[str]:
    return sorted(ft.broker.get_all_tasks())


async def test_prefix() -> None:
    """A prefix goes before the names, with a colon; the handle sends by the new name."""
    ft, broker = program()
    router = TaskRouter()
    task = router.task("send")(send)
    other = router.task(send)
    ft.include_router(router, prefix="mail")
    assert names(ft) == ["mail:send", f"mail:{__name__}:send"]
    assert (task.task_name, other.task_name) == ("mail:send", f"mail:{__name__}:send")
    await task.kiq(5)
    assert broker.payload["task_name"] == "mail:send"


def test_nested_prefixes() -> None:
    """Prefixes of nested routers follow each other, the outer one first; none adds nothing."""
    ft, _ = program()
    outer, middle, inner = TaskRouter(), TaskRouter(), TaskRouter()
    inner.task("send")(send)
    middle.include_router(inner, prefix="b")
    outer.include_router(middle)
    ft.include_router(outer, prefix="a")
    assert names(ft) == ["a:b:send"]


async def test_task_that_is_declared_after_its_router_was_included() -> None:
    """The order of imports does not matter, at any depth."""
    ft, broker = program()
    outer, inner = TaskRouter(), TaskRouter()
    ft.include_router(outer, prefix="a")
    outer.include_router(inner, prefix="b")
    task = inner.task("send")(send)
    assert names(ft) == ["a:b:send"]
    await task.kiq(5)
    assert broker.payload["task_name"] == "a:b:send"


async def test_task_that_is_used_before_its_router_is_included() -> None:
    """It says what is missing."""
    router = TaskRouter()
    task = router.task("send")(send)
    with pytest.raises(UnboundTaskError) as caught:
        await task.kiq(5)
    assert one_sentence(caught.value, "'send'", "ft.include_router(router)")


@pytest.mark.parametrize("prefix", ["", "again"])
def test_included_twice(prefix: str) -> None:
    """Twice in one FastTask is an error, whatever the prefix, and changes nothing."""
    ft, _ = program()
    router = TaskRouter()
    router.task("send")(send)
    ft.include_router(router)
    with pytest.raises(RouterIncludedError) as caught:
        ft.include_router(router, prefix=prefix)
    assert one_sentence(caught.value, "included twice", "send", "include it once")
    assert names(ft) == ["send"]


def test_included_twice_through_others() -> None:
    """It is found at any depth, before anything is bound."""
    ft, _ = program()
    shared, first, second = TaskRouter(), TaskRouter(), TaskRouter()
    shared.task("send")(send)
    first.include_router(shared, prefix="first")
    ft.include_router(first)
    second.task("own")(send)
    second.include_router(shared, prefix="second")
    with pytest.raises(RouterIncludedError):
        ft.include_router(second)
    assert names(ft) == ["first:send"]
    with pytest.raises(RouterIncludedError):
        first.include_router(shared)


def test_refused_router_is_not_kept() -> None:
    """After a refusal nothing is included, here or in a program that comes later."""
    first, _ = program()
    second, _ = program()
    root, shared = TaskRouter(), TaskRouter()
    shared.task("send")(send)
    first.include_router(shared)
    first.include_router(root)
    with pytest.raises(RouterIncludedError):
        root.include_router(shared)
    second.include_router(root)
    assert names(second) == []


def test_included_twice_before_anybody_includes_it() -> None:
    """The second time is refused at once, also through another router."""
    outer, middle, inner = TaskRouter(), TaskRouter(), TaskRouter()
    outer.include_router(inner)
    with pytest.raises(RouterIncludedError):
        outer.include_router(inner, prefix="again")
    middle.include_router(inner)
    with pytest.raises(RouterIncludedError):
        outer.include_router(middle)


def test_part_of_itself() -> None:
    """Routers don't go in a circle."""
    outer, inner = TaskRouter(), TaskRouter()
    outer.include_router(inner)
    with pytest.raises(RouterIncludedError, match="part of itself"):
        outer.include_router(outer)
    with pytest.raises(RouterIncludedError, match="part of itself"):
        inner.include_router(outer)


async def test_in_two_programs() -> None:
    """Each program has the tasks under its own names; the handles send through the first one."""
    first, first_broker = program()
    second, second_broker = program()
    router = TaskRouter()
    task = router.task("send")(send)
    first.include_router(router, prefix="one")
    second.include_router(router, prefix="two")
    later = router.task("later")(send)
    assert names(first) == ["one:later", "one:send"]
    assert names(second) == ["two:later", "two:send"]
    for each in (task, later):
        await each.kiq(1)
    assert [message.task_name for message in first_broker.messages] == ["one:send", "one:later"]
    its_own: Any = second.broker.find_task("two:send")
    await its_own.kiq(1)
    assert [message.task_name for message in second_broker.messages] == ["two:send"]


async def test_dependencies_go_from_the_outside_in() -> None:
    """Those of the program, of the outer router, of the inner one, of the task."""
    seen: list[str] = []

    def noting(name: str) -> Any:
        return Depends(lambda: seen.append(name))

    ft = FastTask(FastAPI(), RecordingBroker(), dependencies=[noting("program")])
    outer = TaskRouter(dependencies=[noting("outer")])
    inner = TaskRouter(dependencies=[noting("inner")])
    ft.include_router(outer)
    outer.include_router(inner)
    task = inner.task("send", dependencies=[noting("task")])(send)
    await task.run(1)
    assert seen == ["program", "outer", "inner", "task"]


def test_name_that_is_taken() -> None:
    """A prefix can mend it."""
    ft, _ = program()
    ft.task("send")(send)
    with pytest.raises(DuplicateTaskError):
        ft.include_router(routed())
    ft.include_router(routed(), prefix="mail")
    assert names(ft) == ["mail:send", "send"]


async def test_refused_tasks_are_not_bound() -> None:
    """One name that is taken keeps the whole router out, and its handles unbound."""
    ft, _ = program()
    ft.task("b")(another)
    outer, inner = TaskRouter(), TaskRouter()
    outer.include_router(inner)
    tasks = [outer.task("a")(send), inner.task("b")(send), inner.task("c")(send)]
    with pytest.raises(DuplicateTaskError, match="'b'"):
        ft.include_router(outer)
    assert names(ft) == ["b"]
    for task in tasks:
        with pytest.raises(UnboundTaskError):
            await task.kiq(1)
    ft.include_router(outer, prefix="mail")
    assert names(ft) == ["b", "mail:a", "mail:b", "mail:c"]


def test_refused_inner_router_is_not_bound() -> None:
    """The same where a router is included that is part of a program already."""
    first, _ = program()
    second, _ = program()
    second.task("x:send")(another)
    outer, inner = TaskRouter(), TaskRouter()
    first.include_router(outer)
    second.include_router(outer)
    inner.task("send")(send)
    with pytest.raises(DuplicateTaskError):
        outer.include_router(inner, prefix="x")
    assert (names(first), names(second)) == ([], ["x:send"])
    outer.include_router(inner, prefix="y")
    assert (names(first), names(second)) == (["y:send"], ["x:send", "y:send"])


def test_refused_declaration_is_not_kept() -> None:
    """A task that is declared late, under a name that is taken, is nowhere afterwards."""
    first, _ = program()
    second, _ = program()
    second.task("send")(another)
    router = TaskRouter()
    first.include_router(router)
    second.include_router(router)
    with pytest.raises(DuplicateTaskError):
        router.task("send")(send)
    third, _ = program()
    third.include_router(router)
    assert (names(first), names(third)) == ([], [])


def test_two_tasks_of_one_name() -> None:
    """A router that has a name twice is refused when a program includes it."""
    ft, _ = program()
    router = TaskRouter()
    router.task("send")(send)
    router.include_router(routed())
    with pytest.raises(DuplicateTaskError):
        ft.include_router(router)
    assert names(ft) == []


def test_schedule_that_does_not_fit() -> None:
    """It keeps the router out, too."""

    async def needs(n: int) -> None: ...

    ft, _ = program()
    router = TaskRouter()
    router.task("needs", cron="0 7 * * *")(needs)
    with pytest.raises(TaskOptionError, match="schedule_args"):
        ft.include_router(router)
    assert names(ft) == []


async def test_handle_before_its_router_is_included() -> None:
    """A handle by id needs to know where results are."""
    router = TaskRouter()
    with pytest.raises(UnboundTaskError):
        router.task("send")(send).enqueued("id")


def routed() -> TaskRouter:
    router = TaskRouter()

    @router.task("send")
    async def other() -> None: ...

    return router


@pytest.mark.parametrize("wrong", [":mail", "mail:", " mail", 5, None])
def test_prefix_that_is_no_name(wrong: Any) -> None:
    """The colon is added; something else than text is told."""
    ft, _ = program()
    with pytest.raises(TaskOptionError, match="such as 'mail'"):
        ft.include_router(TaskRouter(), prefix=wrong)
    with pytest.raises(TaskOptionError, match="such as 'mail'"):
        TaskRouter().include_router(TaskRouter(), prefix=wrong)


@pytest.mark.parametrize("wrong", [APIRouter(), FastAPI(), FastTask(FastAPI()), None, "mail"])
def test_something_else_than_a_router(wrong: Any) -> None:
    """It is told what to include, and where the other one goes."""
    ft, _ = program()
    for outer in (ft, TaskRouter()):
        with pytest.raises(TaskOptionError) as caught:
            outer.include_router(wrong)
        assert one_sentence(caught.value, "'router'", "a TaskRouter", type(wrong).__name__)
    assert names(ft) == []
