"""The file: how it is opened, and what is in it."""

from __future__ import annotations

import logging
import os
import sqlite3
from math import inf
from random import SystemRandom
from time import monotonic
from typing import Literal
from urllib.parse import quote

from fastask.brokers.sqlite.errors import PATIENCE, patiently, told
from fastask.brokers.sqlite.forks import Guarded
from fastask.exceptions import StorageError

__all__ = ["SCHEMA_VERSION", "Session", "Storage", "Synchronous"]

logger: logging.Logger = logging.getLogger("fastask.brokers")

Synchronous = Literal["NORMAL", "FULL"]

SCHEMA_VERSION = 1
_APPLICATION = 0x46_54_53_4B  # "FTSK", in the file's header
_NEEDED = (3, 38, 0)  # RETURNING, and JSON functions that are always there
_LOG_LIMIT = 64 * 2**20  # bytes that the write-ahead log keeps when it is started anew

_SCHEMA = """
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    state INTEGER NOT NULL,       -- 0 ready, 1 leased, 2 delayed, 3 dead
    priority INTEGER NOT NULL,
    until REAL NOT NULL,          -- seconds since 1970: leased, delayed or kept until then
    owner INTEGER NOT NULL,       -- who has leased it, or 0
    starts INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    task_id TEXT NOT NULL,
    data BLOB                     -- NULL if it is large, and in bodies
);
CREATE INDEX messages_ready ON messages (queue, priority DESC, id) WHERE state = 0;
CREATE INDEX messages_until ON messages (queue, state, until) WHERE state > 0;
CREATE TABLE bodies (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TRIGGER messages_bodies AFTER DELETE ON messages WHEN old.data IS NULL
    BEGIN DELETE FROM bodies WHERE id = old.id; END;
CREATE TABLE sent (key TEXT PRIMARY KEY, expires REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX sent_expires ON sent (expires);
CREATE TABLE results (
    task_id TEXT NOT NULL,
    queue TEXT NOT NULL,
    expires REAL NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (task_id, queue)
);
CREATE INDEX results_expires ON results (expires);
CREATE TABLE progress (
    task_id TEXT NOT NULL,
    queue TEXT NOT NULL,
    expires REAL NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (task_id, queue)
);
CREATE INDEX progress_expires ON progress (expires);
CREATE TABLE listeners (
    queue TEXT NOT NULL,
    port INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    seen REAL NOT NULL,
    PRIMARY KEY (queue, port)
) WITHOUT ROWID;
"""
# One statement, as another process may be making the tables in this moment.
_WHOSE = """
SELECT user_version, application_id, (SELECT count(*) FROM sqlite_master)
FROM pragma_user_version, pragma_application_id
"""
_FIRST_ID = "INSERT INTO sqlite_sequence (name, seq) VALUES ('messages', ?)"
_MOST_BEFORE = 2**52  # so that ids are numbers in JSON, whoever reads it


class Storage:
    """Says how a file is opened.

    Args:
        path: the file.
        synchronous: `"NORMAL"` survives the death of any process at any moment, but the last
            commits before a power cut, or a crash of the operating system, may be gone.
            `"FULL"` survives those too, as each commit waits for the disk.
        vfs: SQLite's name of the way in which files are accessed; its default if empty.
    """

    def __init__(self, path: str, *, synchronous: Synchronous = "NORMAL", vfs: str = "") -> None:
        if synchronous not in ("NORMAL", "FULL"):
            raise ValueError(f"synchronous must be 'NORMAL' or 'FULL', not {synchronous!r}")
        self.path: str = os.path.abspath(path)  # noqa: PTH100 - as the working folder is now
        self._synchronous = synchronous
        self._uri = f"file:{quote(self.path)}" + (f"?vfs={quote(vfs)}" if vfs else "")

    def open(self) -> sqlite3.Connection:
        """Open a connection, and make the tables if they are not there.

        Raises:
            StorageError: the file can't be used.
        """
        if sqlite3.sqlite_version_info < _NEEDED:
            needed = ".".join(map(str, _NEEDED))
            reason = f"it needs SQLite {needed}, and this Python has {sqlite3.sqlite_version}"
            raise StorageError(self.path, reason)
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(
                self._uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False
            )
            self._prepare(connection)
        except BaseException as error:
            if connection is not None:
                connection.close()
            raise told(self.path, error) from error
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = patiently(lambda: self._checked(connection))
        mode = patiently(lambda: connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
        if mode != "wal":
            raise StorageError(
                self.path,
                "its file system can't do what SQLite's write-ahead log needs, which is locks "
                "and shared memory; put it on a disk of this host",
            )
        connection.execute(f"PRAGMA synchronous={self._synchronous}")
        connection.execute("PRAGMA secure_delete=OFF")  # some distributions have it on
        connection.execute(f"PRAGMA journal_size_limit={_LOG_LIMIT}")
        if version == 0:
            patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
            if self._checked(connection) == 0:  # nobody else has made them meanwhile
                for statement in _statements(_SCHEMA):
                    connection.execute(statement)
                # No file has ids that another one had in its place, which was deleted: an
                # acknowledgement that comes late must not hit a message of this one.
                connection.execute(_FIRST_ID, (SystemRandom().randrange(_MOST_BEFORE),))
                connection.execute(f"PRAGMA application_id={_APPLICATION}")
                connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            connection.execute("COMMIT")

    def _checked(self, connection: sqlite3.Connection) -> int:
        """Give the version of the tables, 0 if there are none.

        Raises:
            StorageError: they are a newer version's, or another program's.
        """
        row: tuple[int, int, int] = connection.execute(_WHOSE).fetchone()
        version, application, tables = row
        if application != _APPLICATION and (version or tables):
            reason = "it is another program's database; name a file that only fastask uses"
            raise StorageError(self.path, reason)
        if version > SCHEMA_VERSION:
            raise StorageError(
                self.path,
                f"a newer fastask has made it (its tables are version {version}, this one knows "
                f"{SCHEMA_VERSION}); update fastask here, or name another file",
            )
        return version


class Session(Guarded):
    """A connection, which is opened when it is needed.

    Use it with its lock held.

    Args:
        storage: says how to open it.
        is_reader: whether it must not write.
    """

    def __init__(self, storage: Storage, *, is_reader: bool) -> None:
        self._storage = storage
        self._is_reader = is_reader
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._replaced = -inf
        super().__init__()

    def connection(self) -> sqlite3.Connection:
        """Give the connection; another one when the file was deleted or replaced.

        Raises:
            StorageError: the file can't be used.
        """
        if self._connection is not None and not self._is_other_file():
            return self._connection
        connection = self._storage.open()
        if self._is_reader:
            connection.execute("PRAGMA query_only=ON")
        self._connection, self._file = connection, _identity(self._storage.path)
        return connection

    def was_replaced(self) -> bool:
        """Whether the file was deleted or replaced in the last seconds.

        What SQLite has kept beside one that was deleted alone is taken for that of the new
        one, until all who had it open have noticed.
        """
        self._is_other_file()
        return monotonic() - self._replaced < PATIENCE

    def _is_other_file(self) -> bool:
        """Whether the connection is to a file that is gone; it is closed then."""
        if self._connection is None:
            return False
        try:
            if self._file == _identity(self._storage.path):
                return False
        except OSError:  # nobody can say, as when its folder can't be entered any more
            return False
        path = self._storage.path
        logger.error("%s was deleted or replaced; what it held and was not done is gone", path)
        self.close()
        self._replaced = monotonic()
        return True

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    close_for_fork = close


def _identity(path: str) -> tuple[int, int] | None:
    """Give what a file is known by, whatever its name; `None` if it is not there.

    Raises:
        OSError: it can't be seen.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - called for every transaction
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _statements(script: str) -> list[str]:
    """Split a script: `executescript` would commit before it."""
    found: list[str] = []
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            found.append(text)
            text = ""
    return found
