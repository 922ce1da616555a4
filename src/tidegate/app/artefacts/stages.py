"""The stages of a trained model's life, and which moves between them are legal; nothing is written here."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

HISTORY_MAX: Final = 100
"""Moves remembered of one model: only being replaced and brought back again and again makes so many."""


class Stage(StrEnum):
    """Where a model stands; in the order of its life."""

    CANDIDATE = "candidate"
    """Trained, and nothing more."""
    SHADOW = "shadow"
    """Forecasts beside the active one, and is scored; nobody acts on it."""
    ACTIVE = "active"
    """Is acted on."""
    RETIRED = "retired"
    """Is kept, and not used."""


class Cause(StrEnum):
    """What moved a model."""

    MADE = "made"
    PROMOTED = "promoted"
    REPLACED = "replaced"
    """A better one was promoted: this one waits to come back."""
    ROLLED_BACK = "rolled back"
    """It was taken back: it never returns by itself."""
    RESTORED = "restored"
    """The one after it was taken back."""
    RETIRED = "retired"
    """By hand: it never returns by itself."""


class Move(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change of stage."""

    at: str
    """ISO 8601, UTC."""
    came_from: Stage | None = msgspec.field(name="from")
    """None: it was made."""
    to: Stage
    cause: Cause
    why: str
    """For people, with the numbers that decided."""
    other: str | None = None
    """Of who becomes active: whom it came after. Of who is replaced or rolled back: who took its place."""


class Life(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`stage.json`: the stage of one model, and how it came there."""

    name: str
    weights_sha256: str
    """Whose life it is: a retrained model does not inherit it."""
    kind: str
    resource: str
    stage: Stage
    history: tuple[Move, ...]
    """Oldest first."""

    @property
    def slot(self) -> tuple[str, str]:
        """Kind and resource: at most one model of each pair is active."""
        return self.kind, self.resource

    @property
    def came_after(self) -> str | None:
        """The model that was active before this one last became so; None if nobody was."""
        became = [move.other for move in self.history if move.to is Stage.ACTIVE]
        return became[-1] if became else None

    @property
    def gave_way_to(self) -> str | None:
        """The model that replaced this one, which is waiting to come back; None if it isn't."""
        last = self.history[-1]
        return last.other if last.cause is Cause.REPLACED else None

    @property
    def active_since(self) -> str:
        """When it last became active; "" if it never was."""
        return max((move.at for move in self.history if move.to is Stage.ACTIVE), default="")


LEGAL: Final = frozenset(
    {
        (Stage.CANDIDATE, Stage.SHADOW),
        (Stage.SHADOW, Stage.ACTIVE),
        (Stage.CANDIDATE, Stage.RETIRED),
        (Stage.SHADOW, Stage.RETIRED),
        (Stage.ACTIVE, Stage.RETIRED),
        (Stage.RETIRED, Stage.ACTIVE),  # a rollback alone
    }
)


def moved(life: Life, to: Stage, cause: Cause, *, at: str, why: str, other: str | None = None) -> Life:
    """Return the life with one more move.

    Raises:
        InputError: no way leads there from where it stands.

    """
    if (life.stage, to) not in LEGAL or (life.stage is Stage.RETIRED and cause is not Cause.RESTORED):
        raise InputError(
            f"model '{life.name}' is {life.stage} and can't become {to}; 'tidegate models list' shows stages"
        )
    move = Move(at=at, came_from=life.stage, to=to, cause=cause, why=why, other=other)
    return msgspec.structs.replace(life, stage=to, history=(*life.history, move)[-HISTORY_MAX:])


def active_in(lives: Mapping[str, Life], slot: tuple[str, str]) -> Life | None:
    """Return the active model of a kind and resource; of several, which only meddling makes, the newest."""
    active = [life for life in lives.values() if life.slot == slot and life.stage is Stage.ACTIVE]
    return max(active, key=lambda life: (life.active_since, life.name), default=None)


def waiting_for(life: Life, lives: Mapping[str, Life]) -> Life | None:
    """Return the model that gave way to this one, and waits to come back; None if nobody does."""
    before = lives.get(life.came_after or "")
    return before if before is not None and before.gave_way_to == life.name else None


__all__ = ["HISTORY_MAX", "LEGAL", "Cause", "Life", "Move", "Stage", "active_in", "moved", "waiting_for"]
