"""One contestant, once: start, warm up, measure, stop, clean."""

from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from benchmarks.throughput.contestants import Contestant
from benchmarks.throughput.environments import bin_of
from benchmarks.throughput.processes import READY, Client, Ear, Program, limit
from benchmarks.throughput.servers import Place

WARM = 200  # tasks before those that count, and in a backlog after them, too


@dataclass(frozen=True)
class Figures:
    """What was measured.

    Attributes:
        version: of what.
        rate: tasks enqueued in a second.
        sender: microseconds of CPU time of the client for a task.
        wall: seconds from the first enqueueing to the last run; in a backlog, from the first
            to the last run.
        worker: microseconds of CPU time of the worker for a task.
    """

    version: str
    rate: float
    sender: float
    wall: float
    worker: float


class Setting:
    """Where a contestant runs, with names of its own.

    Args:
        contestant: who.
        place: its server.
        tasks: how many count.
        prefetch: messages that a worker takes at once, where that can be set.
        ear: what hears its worker.
    """

    def __init__(
        self, contestant: Contestant, place: Place, tasks: int, prefetch: int, ear: Ear
    ) -> None:
        self._contestant = contestant
        self._bin: Path = bin_of(contestant.needs)
        self.tasks = tasks
        self.ear = ear
        self.queue = f"throughput-{uuid4().hex[:12]}"
        self._environment = {
            "BENCH_URL": place.url,
            "BENCH_QUEUE": self.queue,
            "BENCH_PREFETCH": str(prefetch),
            "BENCH_MARKS": f"{WARM},{WARM + tasks}",
            "BENCH_PORT": str(ear.port),
        }

    def client(self) -> Client:
        return Client(self._bin / "python", self._contestant.program, self._environment)

    def worker(self) -> Program:
        program, *options = self._contestant.command
        options = [each.format(program=self._contestant.program) for each in options]
        return Program([str(self._bin / program), *options], self._environment)


def end_to_end(setting: Setting) -> Figures:
    """The worker runs while the client enqueues."""
    with setting.client() as client, setting.worker() as worker:
        client.enqueue(WARM)
        setting.ear.heard(WARM, worker, limit(WARM))
        before = worker.cpu_when_quiet()
        told = client.enqueue(setting.tasks)
        end = setting.ear.heard(WARM + setting.tasks, worker, limit(setting.tasks))
        after = worker.cpu_when_quiet()
        return _figures(client, told, setting.tasks, end.moment - told["start"], after - before)


def backlog(setting: Setting) -> Figures:
    """All tasks are there before the worker; it has more of them at the end."""
    with setting.client() as client:
        client.enqueue(WARM)
        told = client.enqueue(setting.tasks + WARM)
        with setting.worker() as worker:
            start = setting.ear.heard(WARM, worker, READY)
            before = worker.cpu()
            end = setting.ear.heard(WARM + setting.tasks, worker, limit(setting.tasks))
            after = worker.cpu()
            sent = setting.tasks + WARM
            return _figures(
                client, told, sent, end.moment - start.moment, after - before, setting.tasks
            )


MODES = {"end-to-end": end_to_end, "backlog": backlog}


def _figures(
    client: Client, told: dict[str, float], sent: int, wall: float, cpu: int, ran: int = 0
) -> Figures:
    return Figures(
        version=client.version,
        rate=sent / (told["end"] - told["start"]),
        sender=told["cpu"] / sent * 1e6,
        wall=wall,
        worker=cpu / 1000 / (ran or sent),
    )
