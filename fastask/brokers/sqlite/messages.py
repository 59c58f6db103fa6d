"""What is done with messages, in SQL. Each function does many operations of one kind."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from time import time
from typing import Any

from fastask.brokers.durable import Outgoing
from fastask.brokers.inbox import Taken
from fastask.brokers.sqlite.leases import Leases
from fastask.brokers.sqlite.writer import Transaction

__all__ = [
    "Claim",
    "Listening",
    "Queue",
    "Return",
    "acknowledge",
    "bury",
    "claim",
    "count_start",
    "give_back",
    "keep_leases",
    "listen",
    "purge",
    "send",
    "stop_listening",
]

_LARGE = 2000  # bytes from which data is kept apart, so that a lease does not copy it
_READY, _LEASED, _DELAYED, _DEAD = range(4)
_DEAD_KEPT = 7 * 86_400.0  # seconds for which dead letters are kept at least
_PURGED = 500  # rows of each kind in one go
_GONE = 60.0  # seconds after which a worker that is not heard of has died

_SEND = """
INSERT INTO messages (queue, state, priority, until, owner, starts, deliveries, task_id, data)
VALUES (?, ?, ?, ?, 0, 0, 0, ?, ?)
"""
_SEND_ONCE = """
INSERT INTO sent (key, expires) VALUES (?, ?)
ON CONFLICT (key) DO UPDATE SET expires = excluded.expires WHERE expires <= ?
"""
_PORTS = "SELECT port FROM listeners WHERE queue = ?"
# Leases of its own don't run out for a worker that is there to ask.
_CLAIM = """
UPDATE messages SET state = 1, owner = :owner, until = :until, deliveries = deliveries + 1
WHERE id IN (
    SELECT id FROM (
        SELECT * FROM (
            SELECT id, priority FROM messages
            WHERE queue = :queue AND state = 0 ORDER BY priority DESC, id LIMIT :most
        )
        UNION ALL
        SELECT * FROM (
            SELECT id, priority FROM messages
            WHERE queue = :queue AND state > 0 AND state IN (:leased, 2) AND until <= :now
            AND owner <> :owner LIMIT :most
        )
    ) ORDER BY priority DESC, id LIMIT :most
)
RETURNING id, priority, deliveries, starts, data
"""
_NEXT = """
SELECT min(until) FROM messages WHERE queue = ? AND state > 0 AND state = ? AND owner <> ?
"""
_BODIES = "SELECT id, data FROM bodies WHERE id IN (SELECT value FROM json_each(?))"
_ACKNOWLEDGE = "DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?))"
_EXTEND = """
UPDATE messages SET until = ?
WHERE id IN (SELECT value FROM json_each(?)) AND state = 1 AND owner = ?
"""
_GIVE_BACK = """
UPDATE messages SET state = 0, owner = 0
WHERE id IN (SELECT value FROM json_each(?)) AND state = 1 AND owner = ?
"""
_GIVE_BACK_FRESH = _GIVE_BACK.replace("SET", "SET deliveries = 0, starts = 0,", 1)
_COUNT = "UPDATE messages SET starts = starts + 1 WHERE id = ? AND owner = ? RETURNING starts"
_BURY = "UPDATE messages SET state = 3, owner = 0, until = ? WHERE id = ? AND owner = ?"
_LISTEN = """
INSERT INTO listeners (queue, port, pid, seen) VALUES (?, ?, ?, ?)
ON CONFLICT (queue, port) DO UPDATE SET pid = excluded.pid, seen = excluded.seen
"""
_STOP_LISTENING = "DELETE FROM listeners WHERE queue = ? AND port = ?"
_PURGE = (
    """DELETE FROM messages WHERE id IN (
        SELECT id FROM messages WHERE queue = ? AND state > 0 AND state = 3 AND until <= ? LIMIT ?
    )""",
    "DELETE FROM sent WHERE key IN (SELECT key FROM sent WHERE expires <= ? LIMIT ?)",
    """DELETE FROM results WHERE rowid IN (
        SELECT rowid FROM results WHERE expires <= ? LIMIT ?
    )""",
    """DELETE FROM progress WHERE rowid IN (
        SELECT rowid FROM progress WHERE expires <= ? LIMIT ?
    )""",
)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, and who acts on it.

    Attributes:
        name: its name.
        deadline: seconds for which a message is leased.
        ttl: seconds for which keys are kept by which messages are sent once.
        leases: what this process has leased of it.
    """

    name: str
    deadline: float
    ttl: float
    leases: Leases


@dataclass(frozen=True, slots=True)
class Claim:
    """Asks for messages.

    Attributes:
        queue: whose messages.
        most: how many at most.
    """

    queue: Queue
    most: int


@dataclass(frozen=True, slots=True)
class Return:
    """Gives messages back.

    Attributes:
        queue: whose messages.
        ids: which.
        is_fresh: whether to forget that they were delivered.
    """

    queue: Queue
    ids: Collection[int]
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class Listening:
    """Says that a worker listens.

    Attributes:
        queue: to which queue.
        port: where it is woken up.
        pid: its process.
    """

    queue: str
    port: int
    pid: int


def send(transaction: Transaction, batch: Sequence[tuple[Queue, Outgoing]]) -> Sequence[Any]:
    """Put messages into their queues, but for those that were sent before by their key."""
    now = time()
    for queue, outgoing in batch:
        if outgoing.key is not None:
            key = f"{queue.name}:{outgoing.key}"
            if not transaction.execute(_SEND_ONCE, (key, now + queue.ttl, now)).rowcount:
                continue
        _insert(transaction, queue.name, outgoing, now)
    _wake(transaction, {queue.name for queue, _ in batch})
    return [None] * len(batch)


def claim(
    transaction: Transaction, batch: Sequence[Claim]
) -> Sequence[tuple[list[Taken], float | None]]:
    """Lease messages; where there are none, say when the next one will be due."""
    return [_claim(transaction, each.queue, each.most) for each in batch]


def acknowledge(transaction: Transaction, ids: Sequence[int]) -> Sequence[Any]:
    """Delete messages, whoever has leased them: their tasks came to an end."""
    transaction.execute(_ACKNOWLEDGE, (json.dumps(ids),))
    return [None] * len(ids)


def give_back(transaction: Transaction, batch: Sequence[Return]) -> Sequence[Any]:
    """Make messages ready that are still leased by who gives them back."""
    for each in batch:
        _give_back(transaction, each.queue, each.ids, is_fresh=each.is_fresh)
    return [None] * len(batch)


def count_start(transaction: Transaction, batch: Sequence[tuple[Queue, int]]) -> Sequence[Any]:
    """Count starts, and give how many there are; `None` where the lease was lost."""
    counts: list[int | None] = []
    for queue, number in batch:
        rows = transaction.execute(_COUNT, (number, queue.leases.owner)).fetchall()
        counts.append(rows[0][0] if rows else None)
    return counts


def bury(transaction: Transaction, batch: Sequence[tuple[Queue, int]]) -> Sequence[Any]:
    """Make messages dead letters, which are kept for a week at least."""
    for queue, number in batch:
        until = time() + max(_DEAD_KEPT, queue.ttl)
        transaction.execute(_BURY, (until, number, queue.leases.owner))
    return [None] * len(batch)


def listen(transaction: Transaction, batch: Sequence[Listening]) -> Sequence[Any]:
    """Note where workers are to be woken up."""
    for each in batch:
        transaction.execute(_LISTEN, (each.queue, each.port, each.pid, time()))
    return [None] * len(batch)


def stop_listening(transaction: Transaction, batch: Sequence[Listening]) -> Sequence[Any]:
    """Forget where workers were woken up."""
    for each in batch:
        transaction.execute(_STOP_LISTENING, (each.queue, each.port))
    return [None] * len(batch)


def keep_leases(transaction: Transaction, queue: Queue) -> bool:
    """Extend what is still held, and give back what was dropped without an answer."""
    queue.leases.note_use()
    held, dropped = queue.leases.looked_through()
    if held:
        until = time() + queue.deadline
        transaction.execute(_EXTEND, (until, json.dumps(held), queue.leases.owner))
    if dropped:
        _give_back(transaction, queue, dropped, is_fresh=False)
    return False


def purge(transaction: Transaction, queue: str) -> bool:
    """Delete some of what has expired; tell whether there may be more."""
    now = time()
    transaction.execute("DELETE FROM listeners WHERE seen <= ?", (now - _GONE,))
    dead, *others = _PURGE
    counts = [transaction.execute(dead, (queue, now, _PURGED)).rowcount]
    counts += [transaction.execute(each, (now, _PURGED)).rowcount for each in others]
    return max(counts) >= _PURGED


def _insert(transaction: Transaction, queue: str, outgoing: Outgoing, now: float) -> None:
    is_large = len(outgoing.data) >= _LARGE
    row = (
        queue,
        _DELAYED if outgoing.delay > 0 else _READY,
        outgoing.priority,
        now + max(0.0, outgoing.delay),
        outgoing.task_id,
        None if is_large else outgoing.data,
    )
    number = transaction.execute(_SEND, row).lastrowid
    if is_large:
        transaction.execute("INSERT INTO bodies (id, data) VALUES (?, ?)", (number, outgoing.data))


def _claim(transaction: Transaction, queue: Queue, most: int) -> tuple[list[Taken], float | None]:
    now, owner = time(), queue.leases.owner
    spared = queue.leases.note_use()
    asked = {
        "queue": queue.name,
        "owner": owner,
        "until": now + queue.deadline,
        "now": now,
        "most": most,
        "leased": _DELAYED if spared else _LEASED,
    }
    rows = transaction.execute(_CLAIM, asked).fetchall()
    if not rows:
        return [], _next(transaction, queue, now + spared)
    rows.sort(key=lambda row: (-row[1], row[0]))  # RETURNING has no order
    large = json.dumps([row[0] for row in rows if row[4] is None])
    bodies: dict[int, bytes] = {}
    if large != "[]":
        bodies = dict(transaction.execute(_BODIES, (large,)))
    return [
        Taken(
            data=bodies[number] if data is None else data,
            handle=queue.leases.add(number),
            is_again=deliveries > 1,
            starts=starts,
        )
        for number, _, deliveries, starts, data in rows
    ], None


def _next(transaction: Transaction, queue: Queue, spared_until: float) -> float | None:
    """Give when something will be due, leases not before a time."""
    due: list[float | None] = [
        transaction.execute(_NEXT, (queue.name, state, queue.leases.owner)).fetchone()[0]
        for state in (_LEASED, _DELAYED)
    ]
    if due[0] is not None:
        due[0] = max(due[0], spared_until)
    return min((each for each in due if each is not None), default=None)


def _give_back(
    transaction: Transaction, queue: Queue, ids: Iterable[int], *, is_fresh: bool
) -> None:
    statement = _GIVE_BACK_FRESH if is_fresh else _GIVE_BACK
    transaction.execute(statement, (json.dumps(list(ids)), queue.leases.owner))
    _wake(transaction, [queue.name])


def _wake(transaction: Transaction, queues: Iterable[str]) -> None:
    for queue in queues:
        transaction.ports.update(port for (port,) in transaction.execute(_PORTS, (queue,)))
