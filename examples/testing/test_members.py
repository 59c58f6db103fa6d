"""Tests with a client that is not async. Each has a database of its own.

python -m pytest examples/testing/test_members.py
"""

from datetime import UTC, date, datetime

import pytest
from sqlalchemy.exc import NoResultFound
from starlette.testclient import TestClient

from examples.testing.fakes import Outbox
from examples.testing.mail import MailError
from examples.testing.tasks import forget_unconfirmed, get_today, welcome
from fastask.testing import Tasks


def join(client: TestClient, email: str) -> str:
    """Give the path of a new member."""
    answer = client.post("/members", json={"email": email})
    assert answer.status_code == 201
    return f"/members/{answer.json()['id']}"


def test_new_members_are_welcomed(client: TestClient, tasks: Tasks, outbox: Outbox) -> None:
    """The task reads what the route has written, and the other way round."""
    path = join(client, "ann@example.org")
    assert [to for to, _ in outbox.mails] == ["ann@example.org"]
    assert client.get(path).json()["is_welcomed"]
    [sent] = tasks.sent_to(welcome)
    assert (sent.args, sent.state) == ((1,), "succeeded")


def test_database_is_fresh(client: TestClient) -> None:
    """The member of the test above is not here."""
    assert client.get("/members/1").status_code == 404
    assert join(client, "ann@example.org") == "/members/1"


def test_mail_is_tried_again(client: TestClient, tasks: Tasks, outbox: Outbox) -> None:
    """Two failures are retried, without waiting."""
    outbox.failures = 2
    join(client, "ann@example.org")
    [sent] = tasks.sent_to(welcome)
    assert (sent.state, sent.attempts) == ("succeeded", 3)
    assert len(outbox.mails) == 1


def test_failed_welcome_is_rolled_back(client: TestClient, tasks: Tasks, outbox: Outbox) -> None:
    """The third failure is final; `sent.error` looks at it, so the test may pass."""
    outbox.failures = 3
    path = join(client, "ann@example.org")
    [sent] = tasks.sent_to(welcome)
    assert isinstance(sent.error, MailError)
    assert client.get(path).json()["is_welcomed"] is False


def test_task_alone(client: TestClient, tasks: Tasks, outbox: Outbox) -> None:
    """Sends a task, runs it, and raises what it raises."""
    with pytest.raises(NoResultFound):
        tasks.run(welcome, 7)
    assert outbox.mails == []


def test_cleanup_at_night(client: TestClient, tasks: Tasks) -> None:
    """Runs at three in Berlin, which is two in UTC in winter."""
    tasks.override(get_today, lambda: date(2030, 1, 1))
    ann, bob = join(client, "ann@example.org"), join(client, "bob@example.org")
    client.post(f"{bob}/confirmation")

    tasks.override(get_today, lambda: date(2030, 1, 9))
    assert tasks.due(at=datetime(2030, 1, 9, 3, 0, tzinfo=UTC)) == []
    [sent] = tasks.due(at=datetime(2030, 1, 9, 2, 0, tzinfo=UTC))
    assert (sent.task, sent.result) == (forget_unconfirmed, 1)
    assert client.get(ann).status_code == 404
    assert client.get(bob).status_code == 200


def test_cleanup_runs_once_a_day(client: TestClient, tasks: Tasks) -> None:
    begin, end = datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 8, tzinfo=UTC)
    assert len(tasks.due(between=(begin, end))) == 7
