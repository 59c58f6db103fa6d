"""What `import fastask` costs beside importing FastAPI and Taskiq alone.

    python -m benchmarks.imports

Fresh interpreters in turn; CPU time of each, medians, and the median of the ratios.
"""

import os
import statistics
import subprocess
import sys

ROUNDS = 25
# Bytecode must be kept, or the library is compiled anew each time while others are not.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
CANDIDATES = {"fastapi, taskiq": "import fastapi, taskiq", "fastask": "import fastask"}


def cpu_seconds(code: str) -> float:
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True, env=ENVIRONMENT)
    after = os.times()
    return (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    for turn in range(ROUNDS + 1):
        for name, code in CANDIDATES.items():
            took = cpu_seconds(code)
            if turn:  # the first one writes bytecode
                times[name].append(took)
    for name, took in times.items():
        low, middle, high = statistics.quantiles(took, n=4)
        print(f"{name:18} {middle * 1000:7.0f} ms of CPU ({low * 1000:.0f} - {high * 1000:.0f})")
    base, ours = times.values()
    print(f"ratio {statistics.median(a / b for a, b in zip(ours, base, strict=True)):.3f}")


if __name__ == "__main__":
    main()
