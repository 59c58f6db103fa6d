"""Who is compared, and with whom."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
TASKIQ = ("taskiq", "worker", "{program}:broker", "--workers", "1", "--log-level", "WARNING")


@dataclass(frozen=True)
class Contestant:
    """One row of the table.

    Attributes:
        name: what it is called in the table and in `--only`.
        program: the module in `programs` that has its task and its client.
        server: which server it needs; nothing for a file.
        results: where the worker stores results.
        command: what starts its worker, a program of its environment first.
        needs: what is installed for it, into an environment of its own; nothing if this
            program's has it.
        against: with whom else it is compared than with the first one.
    """

    name: str
    program: str
    server: str = "redis"
    results: str = "Redis"
    command: tuple[str, ...] = TASKIQ
    needs: str = ""
    against: tuple[str, ...] = field(default=())


BASE = "taskiq redis"
CONTROL = "taskiq redis again"

CONTESTANTS = (
    Contestant(BASE, "of_taskiq"),
    Contestant(CONTROL, "of_taskiq"),
    Contestant("fastask redis", "of_fastask"),
    Contestant("fastask sqlite", "of_fastask", "", "SQLite"),
    Contestant("fastask nats", "of_fastask", "nats", "NATS", against=("taskiq nats",)),
    Contestant("fastask amqp", "of_fastask", "amqp", "none", against=("taskiq amqp",)),
    Contestant("taskiq nats", "of_taskiq", "nats", "NATS"),
    Contestant("taskiq amqp", "of_taskiq", "amqp", "none"),
    Contestant("taskiq-fastapi redis", "of_taskiq_fastapi"),
    Contestant("arq", "of_arq", command=("arq", "of_arq.WorkerSettings"), needs="arq"),
    Contestant(
        "saq", "of_saq", command=("saq", "of_saq.settings"), needs="saq[redis] typing_extensions"
    ),
    Contestant(
        "streaq", "of_streaq", command=("streaq", "run", "of_streaq:worker"), needs="streaq"
    ),
    Contestant(
        "celery prefork",  # its default pool
        "of_celery",
        results="none",
        command=("celery", "-A", "of_celery", "worker", "--concurrency", "1", "-l", "WARNING"),
        needs="celery[redis]",
    ),
    Contestant(
        "celery solo",  # tasks run in the process that reads them
        "of_celery",
        results="none",
        command=("celery", "-A", "of_celery", "worker", "-P", "solo", "-l", "WARNING"),
        needs="celery[redis]",
    ),
    Contestant(
        "dramatiq",
        "of_dramatiq",
        results="none",
        command=("dramatiq", "of_dramatiq", "-p", "1"),
        needs="dramatiq[redis]",
    ),
)


@dataclass(frozen=True)
class Due:
    """What is asked of a comparison.

    Attributes:
        name: who is asked.
        against: with whom it is compared.
        metric: of what.
        ratio: how much of it at most, or at least for rates.
    """

    name: str
    against: str
    metric: str
    ratio: float


DUES = (
    *(
        due
        for server in ("redis", "nats", "amqp")
        for due in (
            Due(f"fastask {server}", f"taskiq {server}", "worker", 1.05),
            Due(f"fastask {server}", f"taskiq {server}", "rate", 0.95),
        )
    ),
    Due("fastask sqlite", BASE, "wall", 1.0),
)


def chosen(words: list[str]) -> list[Contestant]:
    """Those whose names have one of the words, and whom they are compared with."""
    named = [each for each in CONTESTANTS if any(word in each.name for word in words)]
    if not named:
        sys.exit(
            f"nobody has {' or '.join(words)!r} in the name: choose among {', '.join(names())}"
        )
    wanted = {BASE, CONTROL, *(name for each in named for name in (each.name, *each.against))}
    return [each for each in CONTESTANTS if each.name in wanted]


def names() -> list[str]:
    return [each.name for each in CONTESTANTS]
