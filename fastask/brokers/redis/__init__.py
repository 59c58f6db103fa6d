"""`redis://` and `rediss://`: a broker and a result backend on Redis, through taskiq-redis."""

from __future__ import annotations

from fastask.brokers.redis.broker import RedisBroker
from fastask.brokers.redis.results import RedisResults
from fastask.brokers.url import BrokerURL

__all__ = ["RedisBroker", "RedisResults", "broker", "results"]


def broker(url: BrokerURL) -> RedisBroker:
    """Make the broker of a URL, with its result backend.

    Raises:
        BrokerURLError: its path is no number of a database.
    """
    return RedisBroker(url)


def results(url: BrokerURL) -> RedisResults:
    """Make the result backend of a URL: JSON, under `QUEUE:ID`, for `results_ttl` seconds.

    Raises:
        BrokerURLError: its path is no number of a database.
    """
    return RedisResults(url)
