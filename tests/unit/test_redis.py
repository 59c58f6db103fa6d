"""What a Redis URL stands for, and what is known without a server."""

from __future__ import annotations

from typing import Any

import pytest

from fastask import BrokerURLError
from fastask.brokers.redis import RedisBroker, broker, results
from fastask.brokers.url import parsed

PLACES = ["redis://localhost/notadb", "redis://me:12/hunter2@localhost/0", "rediss://a/-1"]


@pytest.mark.parametrize(
    ("path", "number"), [("", None), ("/", None), ("/0", 0), ("/15", 15), ("/3/", 3)]
)
def test_database(path: str, number: int | None) -> None:
    """The path is the number of a database, for the results as well."""
    made = broker(parsed(f"redis://localhost{path}"))
    backend: Any = made.result_backend
    assert made.connection_pool.connection_kwargs.get("db") == number
    assert backend.redis_pool.connection_kwargs.get("db") == number


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("make", [lambda url: broker(parsed(url)), RedisBroker])
def test_no_database(place: str, make: Any) -> None:
    """redis-py 8.1 takes any other path for database 0; and a password may be in it."""
    with pytest.raises(BrokerURLError, match="write it as redis://host:6379/0") as caught:
        make(place)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(BrokerURLError, match="not the number of a database"):
        results(parsed(place))
