"""The table: ratios within a round, their medians and quartiles."""

import statistics

from benchmarks.throughput.contestants import BASE, DUES, Contestant
from benchmarks.throughput.rounds import Figures

Measured = dict[str, list[Figures | None]]  # of each round
METRICS = {
    "rate": "enqueued/s",
    "sender": "enqueue CPU us",
    "wall": "wall s",
    "worker": "worker CPU us",
}


def table(measured: Measured, contestants: list[Contestant]) -> list[str]:
    """The lines of the table, in Markdown.

    A row for each contestant against the first one; then one for each against whom it is
    compared beside it.
    """
    lines = [
        f"| | against | results | {' | '.join(METRICS.values())} | due |",
        f"|{' --- |' * (len(METRICS) + 4)}",
    ]
    pairs = [(each, BASE) for each in contestants]
    pairs += [(each, other) for each in contestants for other in each.against]
    for each, other in pairs:
        if each.name in measured and other in measured:
            lines.append(_row(each, other, measured))
    return lines


def _row(each: Contestant, other: str, measured: Measured) -> str:
    cells, dues = [], []
    for metric in METRICS:
        values = [getattr(one, metric) for one in measured[each.name] if one]
        ratios = [
            getattr(one, metric) / getattr(two, metric)
            for one, two in zip(measured[each.name], measured[other], strict=True)
            if one and two
        ]
        if not ratios:
            return f"| {each.name} | {other} | no round has both |"
        cells.append(f"{_short(statistics.median(values))}, {_spread(ratios)}")
        dues += _dues(each.name, other, metric, statistics.median(ratios))
    return f"| {each.name} | {other} | {each.results} | {' | '.join(cells)} | {'; '.join(dues)} |"


def _dues(name: str, other: str, metric: str, ratio: float) -> list[str]:
    found = []
    for due in DUES:
        if (due.name, due.against, due.metric) == (name, other, metric):
            is_rate = metric == "rate"
            is_met = ratio >= due.ratio if is_rate else ratio <= due.ratio
            sign, said = (">=" if is_rate else "<="), ("met" if is_met else "missed")
            found.append(f"{metric} {sign} {due.ratio:g} {said}")
    return found


def _spread(ratios: list[float]) -> str:
    middle = f"x{statistics.median(ratios):.2f}"
    if len(ratios) < 3:
        return middle
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{middle} ({low:.2f} - {high:.2f})"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
