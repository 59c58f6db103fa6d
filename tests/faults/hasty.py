"""The program, for which seconds are long: `taskiq worker` runs it."""

from __future__ import annotations

from fastask.brokers import keeping
from tests.faults.program import broker

__all__ = ["broker"]

keeping._PATIENCE = keeping._REST = 0.2
