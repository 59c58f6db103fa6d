"""How a Redis URL is connected to, by the broker and by the results."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from fastask.brokers.url import BrokerURL, url_of
from fastask.exceptions import BrokerURLError

__all__ = ["OPTIONS", "checked"]

OPTIONS: dict[str, Any] = {"socket_timeout": 5.0, "socket_connect_timeout": 3.0, "protocol": 2}
"""What every connection is made with."""


def checked(url: BrokerURL | str) -> BrokerURL:
    """Give a URL taken apart.

    Raises:
        BrokerURLError: its path is no number of a database; redis-py would take database 0 (8.1).
    """
    url = url_of(url)
    if not re.fullmatch("/?[0-9]*/?", urlsplit(url.address).path):
        # It is not shown: where a password has a "/", it is a part of that.
        reason = "its path is not the number of a database; write it as redis://host:6379/0"
        raise BrokerURLError(url.scheme, reason)
    return url
