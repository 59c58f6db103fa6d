"""The rows can fail: on the ground that fastask stands on, they do."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Make
from tests.faults.test_killed import killed_in_a_task, sigterm_with_a_backlog

pytestmark = pytest.mark.faults


def test_taskiq_redis_strands_a_backlog(make: Make) -> None:
    """taskiq-redis 1.2.4, as it comes, strands what it has read ahead when it stops."""
    bench = make("redis", deadline=60)
    with pytest.raises(AssertionError, match=r"no 'end' of \d+ within"):
        sigterm_with_a_backlog(bench, "plain")


def test_taskiq_redis_loses_a_running_task(make: Make) -> None:
    """taskiq-redis 1.2.4, as it comes, does not redeliver on a queue that is idle."""
    bench = make("redis")
    with pytest.raises(AssertionError, match="no 'end' of 1 within"):
        killed_in_a_task(bench, "plain")
