"""What is shown of URLs and texts that hold secrets."""

from __future__ import annotations

import pytest

from fastask.brokers.url import parsed
from fastask.masking import masked


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://tok1@a:1,s3cret@b:2", "nats://***@b:2"),
        ("nats://tok1@a,me:s3cret@b", "nats://***@b"),
        ("nats://me:s3cret@a,s3cret@b", "nats://me:***@b"),
        ("nats://me:s3cret@a:1,b:2", "nats://me:***@a:1,b:2"),
        ("nats://a:1,s3cret@b", "nats://a:***@b"),
        ("nats://a/,s3cret@b/", "nats://***@b/"),
        ("nats://a/,nats://me:s3cret@b", "nats://***@b"),
        ("tls://s3/cr+et==@a", "tls://***@a"),
        ("nats://s3@cret@a", "nats://***@a"),
        ("redis://:s3c@ret@a:1/0", "redis://:***@a:1/0"),
        ("redis://s3cret@a", "redis://***@a"),
        ("amqp://me:s3cret@a/vhost", "amqp://me:***@a/vhost"),
        ("nats://a:1,b:2", "nats://a:1,b:2"),
        ("sqlite:////me@home/a,b@c.db", "sqlite:////me@home/a,b@c.db"),
    ],
)
def test_urls(url: str, shown: str) -> None:
    """What logs in to any of the servers is not shown; the last server is, and a path."""
    made = parsed(url)
    assert made.shown == shown
    assert "s3" not in f"{made!r}"
    if made.scheme != "sqlite":
        told = masked(f"OSError: {url} and nats://z at mail@host")
        assert told == f"OSError: {shown} and nats://z at mail@host"


def test_spaces_in_a_login() -> None:
    """They are no end of it, where it is known what is an address."""
    assert parsed("redis://me:my s3cret@a").shown == "redis://me:***@a"
    assert parsed("nats://my s3cret@a").shown == "nats://***@a"
