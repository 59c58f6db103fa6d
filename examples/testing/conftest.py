"""The fixtures of the tests: tasks, mails and a client.

python -m pytest examples/testing     in the checkout
python -m pytest                      in this folder
"""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from examples.testing.app import app, ft
from examples.testing.fakes import Outbox
from examples.testing.mail import get_mailer
from fastask.testing import Tasks


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def tasks(outbox: Outbox) -> Iterator[Tasks]:
    with ft.testing() as tasks:
        tasks.override(get_mailer, lambda: outbox)
        yield tasks


@pytest.fixture
def client(tasks: Tasks) -> Iterator[TestClient]:
    """Runs the lifespan, which opens a fresh database in memory: each test begins with none."""
    with TestClient(app) as client:
        yield client
