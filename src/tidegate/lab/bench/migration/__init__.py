"""What moves cost and what they are worth: hand-offs under load, full cards, and links that get ill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate.lab.bench.cards.cell import on_cards
from tidegate.lab.bench.migration import handoffs, ill_link
from tidegate.lab.bench.migration.handoffs import handed_off
from tidegate.lab.bench.migration.ill_link import FAR, NEAR, SERVER, ServerLinks
from tidegate.lab.bench.migration.three_cards import AT_FIRST, CARD_CORES, Asked, with_and_without
from tidegate.lab.bench.result import Benchmark, Row, machine

if TYPE_CHECKING:
    from collections.abc import Callable

HANDING_CORES: Final = 1.0


def bench_migration(*, seed: int, progress: Callable[[str, int, int], None]) -> Benchmark:
    """Measure all of it; the seed draws the moments at which clients ask.

    Raises:
        InputError: this process is not root, or this machine lacks what it takes.
        TidegateError: a program of ours does not do what it should.

    """
    rows: list[Row] = []
    hands = handoffs.Asked()
    rows += on_cards("ab", HANDING_CORES, lambda here: handed_off(here, hands, progress=progress)).rows(hands)
    asked = Asked(seed=seed)
    letters = tuple(AT_FIRST)
    moved = on_cards(letters, CARD_CORES, lambda here: with_and_without(here, asked, progress=progress))
    rows += moved.rows(asked)
    shift, links = ill_link.Asked(), ServerLinks(seed=seed)
    shifted = on_cards(
        NEAR + FAR,
        HANDING_CORES,
        lambda here: links.shifted(here, shift, progress=progress),
        others=SERVER,
        beside=links.beside,
    )
    rows += shifted.rows(shift)
    return Benchmark(area="migration", machine=machine(), seed=seed, rows=tuple(rows))


__all__ = ["bench_migration"]
