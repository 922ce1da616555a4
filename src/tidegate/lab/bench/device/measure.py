"""How fast a device decides and has it done, what it and an agent cost, and what kills leave of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from tidegate.lab.bench.cards.cell import on_cards
from tidegate.lab.bench.device.cost import cost_rows
from tidegate.lab.bench.device.enforcing import enforce_rows
from tidegate.lab.bench.device.killing import killed_points
from tidegate.lab.bench.device.path import path_rows
from tidegate.lab.bench.result import Benchmark, Row, machine

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS: Final = (enforce_rows, path_rows, cost_rows)
"""Each on a device of its own: what one leaves behind is no part of the next."""
CORES: Final = 1.0


def bench_device(*, seed: int, progress: Callable[[str, int, int], None]) -> Benchmark:
    """Measure one card after the other, then kill programs at seeded points: 20 minutes in all.

    Raises:
        InputError: this process is not root, or this machine lacks what it takes.
        TidegateError: a program of ours does not do what it should.

    """
    rows: list[Row] = []
    for part in PARTS:
        rows += on_cards("a", CORES, partial(part, seed=seed, progress=progress))
    rows += killed_points(seed=seed, progress=progress)
    return Benchmark(area="device", machine=machine(), seed=seed, rows=tuple(rows))


__all__ = ["bench_device"]
