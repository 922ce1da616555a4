"""Trained models as people read them: the list, wide or narrow, and one of them whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from tidegate.app.artefacts import Stage
from tidegate.cli.amounts import percent
from tidegate.cli.doctor import printable
from tidegate.cli.durations import duration_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from tidegate.app.artefacts import Card, Held, Life, Record, Score

WIDE: Final = 118
"""Columns from which on there is room for a table; below it each model is a few lines."""
STYLES: Final = {
    Stage.ACTIVE: "green",
    Stage.SHADOW: "cyan",
    Stage.CANDIDATE: "yellow",
    Stage.RETIRED: "dim",
}
DAMAGED: Final = "damaged"
UNKNOWN: Final = "-"
ORDER: Final = (Stage.ACTIVE, Stage.SHADOW, Stage.CANDIDATE, Stage.RETIRED)
COVERED_LEVEL: Final = "0.95"
HOUR_SECONDS: Final = 3_600


def in_order(models: Sequence[Held]) -> list[Held]:
    """Return models by kind and resource, who is active first; who can't be read comes last."""

    def key(one: Held) -> tuple[bool, str, str, int, str]:
        slot = one.card.slot if one.card is not None else one.life.slot if one.life is not None else ("", "")
        rank = len(ORDER) if one.life is None else ORDER.index(one.life.stage)
        return slot == ("", ""), *slot, rank, one.name

    return sorted(models, key=key)


def listed(models: Sequence[Held], width: int) -> Iterator[RenderableType]:
    """Return the list for so many columns."""
    ordered = in_order(models)
    if width >= WIDE:
        yield _table(ordered)
    else:
        yield from map(_block, ordered)
    for one in ordered:
        if one.problem is not None:
            yield Text(f"{printable(one.name)}: {printable(one.problem)}.", style="red")


def shown(card: Card, life: Life, record: Record | None) -> Iterator[RenderableType]:
    """Return everything about one model."""
    yield Text.assemble((printable(card.name), "bold"), " is ", _stage(life))
    facts = Table(show_header=False, box=None, pad_edge=False)
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for label, value in _facts(card):
        facts.add_row(label, Text(printable(value)))
    yield facts
    yield Text("")
    yield _scores(card.scores)
    yield Text("")
    for move in life.history:
        yield Text.assemble(
            f"{move.at}  ", (str(move.to), STYLES[move.to]), f": {printable(move.why)}{_followed(move.other)}"
        )
    if record is not None:
        against = "what decides without it" if record.against is None else f"'{printable(record.against)}'"
        yield Text(
            f"In shadow from {record.since} to {record.until}: {record.samples:,} samples, "
            f"loss {record.loss_sum:.4g} against {record.active_loss_sum:.4g} of {against}."
        )


def _followed(other: str | None) -> str:
    return "" if other is None else f" ('{printable(other)}')"


def _facts(card: Card) -> Iterator[tuple[str, str]]:
    yield "kind", card.kind
    yield "resource", f"{card.resource}, steps of {duration_text(card.step_seconds)}"
    yield (
        "learned from",
        f"{', '.join(card.data.traces)}: {card.data.series:,} series, {card.data.rows:,} samples",
    )
    yield "from", f"{card.data.start} to {card.data.end}"
    yield "seed, commit", f"{card.seed}, {card.commit}"
    yield "size", bytes_text(card.weights_bytes)
    if card.inference_seconds_per_series is not None:
        yield "a day ahead takes", f"{1000 * card.inference_seconds_per_series:.3g} ms per series"
    yield "weights", f"sha256 {card.weights_sha256}"
    yield "made", card.created
    if card.notes:
        yield "notes", card.notes


def _table(models: Sequence[Held]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for heading in ("model", "stage", "kind", "resource", "step"):
        table.add_column(heading, no_wrap=True, overflow="ellipsis")
    for heading in ("WQL 1h", "WQL 1d", "MASE 1h", "MASE 1d", "below 0.95", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("made", no_wrap=True)
    for one in models:
        table.add_row(Text(printable(one.name)), *_cells(one))
    return table


def _cells(one: Held) -> Iterator[Text | str]:
    yield Text(DAMAGED, style="red") if one.problem is not None else _stage(one.life)
    card = one.card
    if card is None:
        yield from (UNKNOWN,) * 10
        return
    hour, day = _at(card, HOUR_SECONDS), _at(card, 24 * HOUR_SECONDS)
    yield Text(printable(card.kind))
    yield card.resource
    yield duration_text(card.step_seconds)
    yield _number(None if hour is None else hour.wql)
    yield _number(None if day is None else day.wql)
    yield _number(None if hour is None else hour.mase_median)
    yield _number(None if day is None else day.mase_median)
    yield _covered(day or hour)
    yield bytes_text(card.weights_bytes)
    yield card.created[:10]


def _block(one: Held) -> Text:
    """Return a model where a table has no room."""
    stage, kind, resource, step, wql, wql_day, mase, mase_day, covered, size, made = _cells(one)
    return Text.assemble(
        (printable(one.name), "bold"),
        " ",
        stage,
        "  ",
        kind,
        f" {resource}, {step}\n  WQL {wql} 1h, {wql_day} 1d; MASE {mase}, {mase_day}\n",
        f"  {covered} below 0.95; {size}, made {made}",
    )


def _scores(scores: Sequence[Score]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    levels = list(dict.fromkeys(level for score in scores for level in score.coverage))
    for heading in ("ahead", "WQL", "MASE", *(f"below {level}" for level in levels), "samples"):
        table.add_column(heading, justify="right", no_wrap=True)
    for score in scores:
        covered = (percent(score.coverage[level]) if level in score.coverage else UNKNOWN for level in levels)
        table.add_row(
            duration_text(score.horizon_seconds),
            _number(score.wql),
            _number(score.mase_median),
            *covered,
            f"{score.samples:,}",
        )
    return table


def bytes_text(size: int) -> str:
    """Return a size in the unit people read, such as ``1.5 MiB``."""
    amount = float(size)
    for unit in ("B", "KiB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1024
    return f"{amount:.3g} MiB"


def _stage(life: Life | None) -> Text:
    return Text(UNKNOWN) if life is None else Text(str(life.stage), style=STYLES[life.stage])


def _at(card: Card, horizon_seconds: int) -> Score | None:
    return next((score for score in card.scores if score.horizon_seconds == horizon_seconds), None)


def _covered(score: Score | None) -> str:
    share = None if score is None else score.coverage.get(COVERED_LEVEL)
    return UNKNOWN if share is None else percent(share)


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"


__all__ = ["bytes_text", "in_order", "listed", "shown"]
