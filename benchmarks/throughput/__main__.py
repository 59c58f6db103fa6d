"""How many tasks get through: fastask on each URL, Taskiq by itself, and others.

    python -m benchmarks.throughput                         # 2,000 tasks, both modes
    python -m benchmarks.throughput --tasks 20000 --rounds 5
    python -m benchmarks.throughput --only sqlite --only nats --mode end-to-end
    python -m benchmarks.throughput --profile "fastask redis" --profile "taskiq redis"

Needs the servers that are to be compared on; those that are not there are left out. Peers are
installed into `.venv-peers` on first use. README.md tells what is measured.
"""

import argparse
import os
import sys
from collections.abc import Callable

from benchmarks.throughput.contestants import CONTESTANTS, Contestant, chosen
from benchmarks.throughput.processes import Ear, FailedError
from benchmarks.throughput.profiles import profiled
from benchmarks.throughput.rounds import MODES, Figures, Setting
from benchmarks.throughput.servers import AbsentError, Place, places
from benchmarks.throughput.table import Measured, table

Run = Callable[[Setting], Figures]


def main() -> None:
    options = arguments()
    contestants = chosen(options.only) if options.only else list(CONTESTANTS)
    if options.profile:
        contestants = [each for each in CONTESTANTS if each.name in options.profile]
    addresses = {"redis": options.redis, "nats": options.nats, "amqp": options.amqp}
    with places(addresses) as (found, missing), Ear() as ear:
        for each in [each for each in contestants if each.server in missing]:
            note(each, missing[each.server])
            contestants.remove(each)

        def once(run: Run, each: Contestant) -> Figures | None:
            return attempt(run, each, found[each.server], options, ear)

        if options.profile:
            for each in contestants:
                once(lambda setting, name=each.name: profiled(setting, name), each)
            return
        for mode in MODES if options.mode == "both" else [options.mode]:
            measured = rounds(MODES[mode], contestants, options.rounds, once)
            report(mode, measured, contestants, options)


def rounds(
    run: Run,
    contestants: list[Contestant],
    count: int,
    once: Callable[[Run, Contestant], Figures | None],
) -> Measured:
    """All contestants in turn, another one first in each round; who fails once is left out."""
    measured: Measured = {each.name: [] for each in contestants}
    left = list(contestants)
    for turn in range(count):
        first = turn % len(contestants)
        for each in contestants[first:] + contestants[:first]:
            figures = once(run, each) if each in left else None
            if figures is None and each in left:
                left.remove(each)
            measured[each.name].append(figures)
        print(f"round {turn + 1} of {count}", file=sys.stderr)
    return {name: each for name, each in measured.items() if any(each)}


def attempt(
    run: Run, each: Contestant, place: Place, options: argparse.Namespace, ear: Ear
) -> Figures | None:
    """Measure, and clean up."""
    try:
        setting = Setting(each, place, options.tasks, options.prefetch, ear)
        try:
            return run(setting)
        finally:
            place.clean(setting.queue)
    except (FailedError, RuntimeError, AbsentError) as error:
        note(each, str(error))
        return None


def report(
    mode: str, measured: Measured, contestants: list[Contestant], options: argparse.Namespace
) -> None:
    versions = dict.fromkeys(
        figures.version for each in measured.values() for figures in each if figures
    )
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"\n{mode}, {options.tasks} tasks, {options.rounds} rounds, prefetch {options.prefetch}")
    print(f"{', '.join(versions)}; load of the machine {load}\n")
    print("\n".join(table(measured, contestants)))


def note(each: Contestant, reason: str) -> None:
    print(f"{each.name} is left out: {reason}", file=sys.stderr)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--mode", choices=[*MODES, "both"], default="both")
    parser.add_argument("--only", action="append", help="contestants with this in their names")
    parser.add_argument("--prefetch", type=int, default=25, help="of fastask and Taskiq alike")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222")
    parser.add_argument("--amqp", default="amqp://guest:guest@127.0.0.1:5672/")
    parser.add_argument("--profile", action="append", help="where this one's worker spends time")
    return parser.parse_args()


if __name__ == "__main__":
    main()
