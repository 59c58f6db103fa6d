"""SQLite's errors, in words that say what to do; and patience with locks."""

from __future__ import annotations

import getpass
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from stat import S_ISDIR
from typing import TypeVar

from fastask.exceptions import StorageError

__all__ = ["PATIENCE", "is_broken", "is_locked", "may_pass", "patiently", "told"]

R = TypeVar("R")

PATIENCE = 3.0  # seconds for which a lock is waited for; less than a sender waits
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0002, 0.005  # seconds

_REASONS = {
    sqlite3.SQLITE_FULL: ("the disk is full; make room on it. Nothing that was accepted is lost"),
    sqlite3.SQLITE_BUSY: (
        f"another program has kept it locked for {PATIENCE:g} s; end what holds it, such as a "
        "backup or an sqlite3 shell with an open transaction"
    ),
    sqlite3.SQLITE_NOTADB: (
        "it is no SQLite database; name another file, or move this one away to start anew"
    ),
    sqlite3.SQLITE_CORRUPT: (
        "it is damaged; stop all that use it, then restore it from a backup or save what can be "
        "read with the sqlite3 shell's .recover"
    ),
    sqlite3.SQLITE_PROTOCOL: (
        "the locks of its file system do not work; put it on a disk of this host, as network "
        "file systems can't be used"
    ),
    sqlite3.SQLITE_IOERR: (
        "reading or writing it has failed; check its disk and the system's log, and put it on a "
        "disk of this host if it is on a network file system"
    ),
}
# What a connection is not to be used after.
_BROKEN = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
}
_PASSING = _BROKEN - {sqlite3.SQLITE_CANTOPEN} | {sqlite3.SQLITE_PROTOCOL}


def patiently(attempt: Callable[[], R], patience: float = PATIENCE) -> R:
    """Call something again while another connection holds a lock that it needs.

    SQLite's own waiting pauses for up to 100 ms, as if nobody minded.

    Args:
        attempt: what to call.
        patience: seconds after which the error is raised.

    Raises:
        sqlite3.OperationalError: it is still locked.
    """
    give_up = time.monotonic() + patience
    pause = _FIRST_PAUSE
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if not is_locked(error) or time.monotonic() >= give_up:
                raise
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def is_locked(error: BaseException) -> bool:
    """Whether an error says that another connection holds a lock."""
    return _code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def is_broken(error: BaseException) -> bool:
    """Whether a connection is not to be used again after an error."""
    return _code(error) in _BROKEN


def may_pass(error: BaseException) -> bool:
    """Whether an error may come of a file that was replaced and is still open elsewhere."""
    cause = error.__cause__ if isinstance(error, StorageError) else error
    return cause is not None and _code(cause) in _PASSING


def told(path: str, error: BaseException) -> BaseException:
    """Give an error that says what is wrong with a file, and what to do.

    Args:
        path: the file.
        error: what was raised; it is given as it is if it is not SQLite's, or not about the
            file but about a value.
    """
    code = _code(error)
    if isinstance(error, StorageError) or code is None:
        return error
    if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
        reason = _refusal(Path(path))
    elif code == sqlite3.SQLITE_TOOBIG:
        return error
    else:
        reason = _REASONS.get(code, f"SQLite says {str(error)!r}")
    named = StorageError(path, reason, is_locked=is_locked(error))
    named.__cause__ = error
    return named


def _refusal(path: Path) -> str:
    """Say why a file can't be opened or written, as far as can be seen."""
    try:
        if _is_folder(path):
            return "it is a folder; name a file in it"
        if not _is_folder(path.parent):
            return f"its folder is not there; make it with mkdir -p {path.parent}"
    except PermissionError:
        pass
    except OSError as error:
        return f"the system says {error.strerror!r}; name another file"
    return (
        f"the user {_user()!r} can't write it; let that user write the file and its folder, as "
        "SQLite keeps two more files beside it"
    )


def _is_folder(path: Path) -> bool:
    """Whether there is such a folder; unlike `Path.is_dir`, it raises when that can't be seen."""
    try:
        return S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        return "of this process"


def _code(error: BaseException) -> int | None:
    """Give SQLite's primary code of an error."""
    if not isinstance(error, sqlite3.Error):
        return None
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
