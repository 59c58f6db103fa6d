"""`nats://` and `tls://`: a broker and a result backend on NATS JetStream."""

from __future__ import annotations

from typing import Any

from fastask.brokers.nats.broker import JetStreamBroker
from fastask.brokers.nats.results import NATSResults
from fastask.brokers.url import BrokerURL
from fastask.exceptions import BrokerURLError

__all__ = ["JetStreamBroker", "NATSResults", "broker", "results"]


def broker(url: BrokerURL) -> JetStreamBroker:
    """Make the broker of a URL, with its result backend."""
    return JetStreamBroker(_checked(url))


def results(url: BrokerURL) -> NATSResults[Any]:
    """Make the result backend of a URL: JSON, in a bucket, for `results_ttl` seconds."""
    return NATSResults(_checked(url))


def _checked(url: BrokerURL) -> BrokerURL:
    if not url.settings.queue.isascii():
        raise BrokerURLError(url.scheme, "queue must be of ASCII letters, digits, '-' and '_'")
    if url.settings.queue.startswith("KV_"):
        raise BrokerURLError(url.scheme, "queue must not begin with 'KV_', as NATS's buckets do")
    return url
