"""Where a worker spends its time: py-spy watches it run down a backlog."""

import contextlib
import signal
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.throughput.environments import bin_of
from benchmarks.throughput.processes import READY, STOP, limit
from benchmarks.throughput.rounds import WARM, Figures, Setting

RATE, ROWS = 500, 60  # looks a second; functions that are shown


def profiled(setting: Setting, name: str) -> Figures | None:
    """Print the functions of a worker that take most, in microseconds for a task.

    Watching slows a worker down: only compare shares, and workers that were watched alike.
    """
    with tempfile.TemporaryDirectory() as folder, setting.client() as client:
        client.enqueue(setting.tasks + 2 * WARM)
        with setting.worker() as worker:
            pid, before = setting.ear.heard(WARM, worker, READY).pid, worker.cpu()
            file = Path(folder) / "stacks"
            with _watching(pid, file):
                setting.ear.heard(WARM + setting.tasks, worker, limit(setting.tasks))
                taken = (worker.cpu() - before) / 1000 / setting.tasks
        _show(file.read_text().splitlines(), name, taken)
    return None


@contextlib.contextmanager
def _watching(pid: int, file: Path):
    options = ["--pid", str(pid), "--rate", str(RATE), "--format", "raw"]
    command = [bin_of("py-spy") / "py-spy", "record", *options, "--output", file]
    watcher = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        yield
    finally:
        watcher.send_signal(signal.SIGINT)
        try:
            _, told = watcher.communicate(timeout=STOP)
        except subprocess.TimeoutExpired:
            watcher.kill()
            watcher.communicate()
            raise
        if not file.exists():
            raise RuntimeError(f"py-spy: {told.strip()[-300:]}")


def _show(stacks: list[str], name: str, taken: float) -> None:
    alone, within = Counter[str](), Counter[str]()
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        named = [_function(frame) for frame in frames.split(";")]
        alone[named[-1]] += int(count)
        within.update(dict.fromkeys(named, int(count)))
    total = alone.total()
    print(f"\n{name}: {taken:.0f} us for a task, {total} looks\n")
    print(f"{'us alone':>9}{'us with calls':>15}")
    for function, count in _parts(alone, within):
        print(f"{alone[function] / total * taken:9.1f}{count / total * taken:15.1f}  {function}")


def _parts(alone: Counter[str], within: Counter[str]) -> list[tuple[str, int]]:
    """Those that take most by themselves, and those that take most with what they call.

    Without those that call all the rest, as the start of the worker does.
    """
    most = dict(alone.most_common(ROWS))
    parts = {name: count for name, count in within.items() if count < 0.97 * alone.total()}
    most |= dict(Counter(parts).most_common(ROWS))
    rows = [(name, within[name]) for name in most]
    return sorted(rows, key=lambda row: (alone[row[0]], row[1]), reverse=True)


def _function(frame: str) -> str:
    """`name (file:line)` without the line, and without the folders of packages."""
    name, _, place = frame.rstrip(")").partition(" (")
    file = place.rpartition(":")[0] or place
    return f"{name} ({file.rpartition('site-packages/')[2]})"
