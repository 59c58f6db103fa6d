"""A dependency does in a task what it does in a route: random trees, resolved by both.

`PARITY_EXAMPLES=5000` looks at that many other trees than the ones of every run.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, note, settings

from tests.parity.build import build, source
from tests.parity.differences import as_task_should
from tests.parity.journal import Observed, described
from tests.parity.runs import Programs
from tests.parity.trees import Tree, trees, trees_with_taskiq_markers

_EXAMPLES = os.environ.get("PARITY_EXAMPLES")


def _settings(examples: int) -> settings:
    return settings(
        max_examples=int(_EXAMPLES or examples),
        derandomize=_EXAMPLES is None,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@_settings(300)
@given(trees())
async def test_tree_is_resolved_as_in_a_route(tree: Tree) -> None:
    """Values, calls, order of setup and teardown and the outcome are those of the route."""
    await _try(tree)


@_settings(100)
@given(trees_with_taskiq_markers())
async def test_ft_depends_adapts_taskiq_markers(tree: Tree) -> None:
    """A route that asks by `ft.depends` resolves what is written with Taskiq's markers."""
    await _try(tree)


async def _try(tree: Tree) -> None:
    note(source(tree))
    programs = Programs(build(tree))
    async with programs.ft.testing():
        await _compare(programs)
        if tree.overrides:
            programs.app.dependency_overrides.clear()
            await _compare(programs)


async def _compare(programs: Programs) -> None:
    expected = as_task_should(await programs.as_route())
    _assert_alike(await programs.as_task(), expected, "run()")
    _assert_alike(await programs.as_message(), expected, "kiq()")


def _assert_alike(task: Observed, expected: Observed, how: str) -> None:
    compared = expected.early_events
    assert task.events[:compared] == expected.events[:compared], how
    assert task.outcome[: len(expected.outcome)] == expected.outcome, how
    if task.last is not None:
        assert task.outcome == ("raised", *described(task.last)), how
