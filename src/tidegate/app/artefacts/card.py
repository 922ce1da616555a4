"""The card of a trained model: what it is, what it learned from, how good it was, and of which weights."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from tidegate.model.errors import InputError
from tidegate.model.resources import Resource

FORMAT: Final = 1
"""Of the folder as a whole; raised where an older Tidegate could misread it."""
NOTES_LETTERS_MAX: Final = 2_000
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a model may be called: a folder's name on every file system, and never a way out of the store."""
LABELS: Final = frozenset(resource.label for resource in Resource)


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model learned from."""

    traces: tuple[str, ...]
    """File names, without folders."""
    series: int
    start: str
    """ISO 8601, UTC: where the first step that it saw begins."""
    end: str
    """ISO 8601, UTC: where the last step that it saw ends; what it is scored on comes after."""
    rows: int
    """Samples present."""


class Score(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How good a model was at one horizon, on samples it had not seen; None where nothing could be scored."""

    horizon_seconds: int
    origins: int
    samples: int
    wql: float | None
    """Weighted quantile loss over the levels 0.1 to 0.9."""
    mase_median: float | None
    """Over series, season one day."""
    mase_left_out: int
    """Series that never changed from one day to the next: their errors have no scale."""
    coverage: dict[str, float]
    """Share of samples at or below the quantile, by level such as ``0.95``."""


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`card.json`."""

    format: int = FORMAT
    name: str
    kind: str
    """A name of `PATH_MODELS`, or a plug-in's."""
    resource: str
    step_seconds: int
    data: Data
    seed: int
    commit: str
    """The commit that trained it, with ``-dirty`` where files were changed; else Tidegate's version."""
    scores: tuple[Score, ...]
    weights_bytes: int = 0
    weights_sha256: str = ""
    inference_seconds_per_series: float | None
    created: str
    """ISO 8601, UTC."""
    notes: str = ""

    @property
    def slot(self) -> tuple[str, str]:
        """Kind and resource: at most one model of each pair is active."""
        return self.kind, self.resource


class _Header(msgspec.Struct):
    """As much of a card as every version of it has."""

    format: int


def checked_name(name: str) -> str:
    """Return the name, unless no model can be called so.

    Raises:
        InputError: it is empty, too long, or has other letters.

    """
    if NAME.fullmatch(name) is None:
        raise InputError(
            f"a model can't be called {name!r}; use 1 to 64 letters, digits, '.', '_' and '-', the first a "
            "letter or a digit"
        )
    return name


def checked_card(card: Card) -> Card:
    """Return the card, unless something in it can't be.

    Raises:
        InputError: a field is out of its range.

    """
    checked_name(card.name)
    if card.resource not in LABELS:
        raise InputError(f"{card.resource!r} is no resource; choose among {', '.join(sorted(LABELS))}")
    if card.step_seconds < 1 or card.weights_bytes < 0:
        raise InputError(f"the card of '{card.name}' has a step or a size that can't be; train it again")
    checked_notes(card.notes)
    return card


def checked_notes(notes: str) -> str:
    """Return the notes, unless they are too long for a card.

    Raises:
        InputError: they are longer than `NOTES_LETTERS_MAX`.

    """
    if len(notes) > NOTES_LETTERS_MAX:
        raise InputError(f"the notes are longer than {NOTES_LETTERS_MAX:,} letters; shorten them")
    return notes


def encoded_card(card: Card) -> bytes:
    """Return the text of `card.json`, the same for the same card."""
    return msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n"


def decoded_card(data: bytes, where: str) -> Card:
    """Return what `card.json` holds; ``where`` names it in what is said.

    Raises:
        InputError: it is of another version, or no card.

    """
    try:
        version = msgspec.json.decode(data, type=_Header).format
        if version != FORMAT:
            raise InputError(
                f"{where} is of format {version}, and this Tidegate reads format {FORMAT}; "
                f"{'update Tidegate' if version > FORMAT else 'train the model again'}"
            )
        return checked_card(msgspec.json.decode(data, type=Card))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{where} is no card of a model ({error}); train the model again") from error


__all__ = [
    "FORMAT",
    "Card",
    "Data",
    "Score",
    "checked_card",
    "checked_name",
    "checked_notes",
    "decoded_card",
    "encoded_card",
]
