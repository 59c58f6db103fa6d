"""Sets: equal items may differ in what `==` does not see."""

from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel

from fastask.wire.values import ValueWire
from tests.unit.test_wire_corners import there

ZONE = ZoneInfo("Europe/Berlin")
BERLIN = datetime(2026, 10, 24, 12, tzinfo=ZONE)


class Entry(NamedTuple):
    at: datetime


@dataclass(frozen=True)
class Point:
    at: datetime


@dataclass(frozen=True)
class Share:
    share: float


class Frozen(BaseModel, frozen=True):
    at: datetime


class Holding(BaseModel):
    moments: set[datetime]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (set[datetime], {BERLIN}),
        (frozenset[datetime], frozenset({BERLIN})),
        (set[time], {time(1, tzinfo=ZONE)}),
        (set[tuple[datetime, int]], {(BERLIN, 1)}),
        (set[Entry], {Entry(BERLIN)}),
        (set[Point], {Point(BERLIN)}),
        (set[Frozen], {Frozen(at=BERLIN)}),
        (Holding, Holding(moments={BERLIN})),
        (dict[datetime, int], {BERLIN: 1}),
        (set[Decimal | float], {Decimal("1.50")}),
        (set[int | float], {1.0}),
        (set[tuple[int | bool]], {(True,)}),
    ],
    ids=str,
)
def test_items_arrive_as_they_were(kind: Any, value: Any) -> None:
    """In sets as elsewhere, and in sets of what holds them."""
    got = there(kind, value)
    assert got == value
    assert repr(got) == repr(value)


def test_plain_form() -> None:
    """Sets of what JSON tells are in no envelope, nor is one with a whole number."""
    noon = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert ValueWire(set[datetime]).dump({noon}) == ["2026-10-24T12:00:00Z"]
    assert ValueWire(frozenset[Share]).dump(frozenset({Share(1)})) == [{"share": 1}]
