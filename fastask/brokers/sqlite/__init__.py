"""`sqlite://`: a broker and a result backend in a file, with Python's own `sqlite3`."""

from __future__ import annotations

from fastask.brokers.sqlite.broker import SQLiteBroker, broker, results
from fastask.brokers.sqlite.results import SQLiteResults

__all__ = ["SQLiteBroker", "SQLiteResults", "broker", "results"]
