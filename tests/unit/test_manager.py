"""Taskiq's process manager, and who is taken for it."""

import multiprocessing
import sys

import pytest
from taskiq.cli.worker.args import WorkerArgs

from fastask.worker.manager import Manager


def is_managed() -> bool:
    return Manager.of_this_process() is not None


def named(args: object) -> None:
    sys.exit(is_managed())


@pytest.mark.parametrize(
    ("args", "expected"), [(WorkerArgs("app:broker", []), True), ({"any": "thing"}, False)]
)
def test_only_taskiqs_processes_have_a_manager(args: object, expected: bool) -> None:
    """A process of the user's that happens to have such a name is nobody's worker."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=named, kwargs={"args": args}, name="worker-0")
    process.start()
    process.join(30)
    assert process.exitcode == expected


def test_this_process_has_none() -> None:
    """A test, a script and a web process are no workers."""
    assert not is_managed()
