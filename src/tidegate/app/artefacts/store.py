"""The store of trained models: which there are, which stage each is at, and how they move on.

Who changes it holds its lock. A change of one model's stage is one rename. A change of two, as when one
takes the place of another, is first written down whole in `moves.json`: that rename decides, and who
reads while the file is there reads it over what the folders say. So at most one model of a kind and
resource is active, whenever power fails.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from tidegate.app.artefacts.card import checked_name
from tidegate.app.artefacts.disk import PART, read_file, reading, rename, sync_folder, write_file, writing
from tidegate.app.artefacts.folder import (
    RECORD,
    SMALL_BYTES_MAX,
    STAGE,
    open_model,
    packed,
    read_card,
    read_life,
    write_model,
)
from tidegate.app.artefacts.record import Record, checked_record, verdict
from tidegate.app.artefacts.sealed import sealed, unsealed
from tidegate.app.artefacts.stages import Cause, Life, Move, Stage, active_in, moved, waiting_for
from tidegate.app.state import state_folder
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from tidegate.app.artefacts.card import Card
    from tidegate.ports import Clock

FOLDER: Final = "models"
"""Below the folder of all state."""
MOVES: Final = "moves.json"
MODELS_MAX: Final = 1_000
"""Each is looked at whenever stages are: more is an archive, not a store."""


class _Moves(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stages that are to change together."""

    lives: dict[str, Life]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A model of the store; what can't be read of it is None, and ``problem`` says why."""

    name: str
    card: Card | None
    life: Life | None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What a change came to."""

    life: Life
    """Of the model that was named."""
    other: Life | None = None
    """Of the one that gave way to it, or came back."""


@dataclass(frozen=True, slots=True)
class ModelStore:
    """A folder of models."""

    folder: Path
    clock: Clock

    def names(self) -> list[str]:
        """Return what the models are called, sorted."""
        try:
            there = [path for path in self.folder.iterdir() if not path.name.startswith(".")]
            return sorted(path.name for path in there if path.is_dir() or path.is_symlink())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(
                f"the models in {self.folder} can't be read ({error.strerror}); name a folder with --models"
            ) from error

    def held(self) -> list[Held]:
        """Return every model as far as it can be read; weights are not looked into.

        Raises:
            InputError: the folder can't be read, or somebody keeps changing it.

        """
        with reading(self.folder):
            pending = self._pending()
            return [self._one(name, pending) for name in self.names()]

    def record(self, name: str) -> Record | None:
        """Return what a model's time in shadow came to; None before anything was written.

        Raises:
            InputError: there is no such model, or the record was altered.

        """
        where = self.path(name) / RECORD
        if not where.is_symlink() and not where.exists():
            return None
        data = read_file(self.path(name), RECORD, bytes_max=SMALL_BYTES_MAX)
        try:
            return checked_record(unsealed(data, Record))
        except (ValueError, InputError) as error:
            raise InputError(
                f"{where} can't be trusted ({error}); remove it, and it is written anew"
            ) from error

    def path(self, name: str) -> Path:
        """Return a model's folder.

        Raises:
            InputError: no model can be called so, or there is none.

        """
        folder = self.folder / checked_name(name)
        if not (folder.is_dir() or folder.is_symlink()):
            raise InputError(
                f"there is no model '{name}' in {self.folder}; 'tidegate models list' shows those there are"
            )
        return folder

    def check_free(self, name: str) -> None:
        """Refuse a name under which no model can be added; before any long work is done for it.

        Raises:
            InputError: the name can't be, is taken, or the store can't be written or is full.

        """
        self._check_free(name)
        there = next(folder for folder in (self.folder, *self.folder.absolute().parents) if folder.exists())
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            raise InputError(f"no model can be written in {there}; name a folder of yours with --models")

    def add(self, card: Card, weights: Mapping[str, NDArray[np.generic]]) -> Card:
        """Store a model as a candidate, whole or not at all; return its card as it was written.

        Raises:
            InputError: the name is taken, or the weights can't be stored.
            TidegateError: the disk is full.

        """
        whole, data = packed(card, weights)
        made = Move(at=self._now(), came_from=None, to=Stage.CANDIDATE, cause=Cause.MADE, why="trained")
        life = Life(
            name=whole.name,
            weights_sha256=whole.weights_sha256,
            kind=whole.kind,
            resource=whole.resource,
            stage=Stage.CANDIDATE,
            history=(made,),
        )
        with writing(self.folder):
            self._check_free(whole.name)
            self._sweep()
            beside = self.folder / f".{whole.name}{PART}"
            try:
                beside.mkdir()
                write_model(beside, whole, data, life)
                sync_folder(beside)
                rename(beside, self.folder / whole.name)
            except BaseException:
                shutil.rmtree(beside, ignore_errors=True)
                raise
        return whole

    def promote(self, name: str) -> Moved:
        """Move a model one stage on: a candidate into shadow, one in shadow to active if it was better there.

        Raises:
            InputError: it can't move on, is not whole, or its record does not earn it; nothing changed.

        """
        with writing(self.folder):
            lives = self._settled()
            life = self._life(name, {})
            if life.stage is Stage.ACTIVE:
                raise InputError(
                    f"model '{name}' is active already; 'tidegate models rollback {name}' takes it back"
                )
            if life.stage is Stage.RETIRED:
                raise InputError(f"model '{name}' is retired and stays so; train a new one")
            open_model(self.path(name))
            if life.stage is Stage.CANDIDATE:
                after = moved(life, Stage.SHADOW, Cause.PROMOTED, at=self._now(), why="promoted by hand")
                self._write(after)
                return Moved(life=after)
            return self._activate(life, lives)

    def retire(self, name: str) -> Moved:
        """Put a model out of use for good; where it was active, none is then.

        Raises:
            InputError: there is no such model, or it is retired already.

        """
        with writing(self.folder):
            self._settled()
            life = self._life(name, {})
            after = moved(life, Stage.RETIRED, Cause.RETIRED, at=self._now(), why="retired by hand")
            self._write(after)
            return Moved(life=after)

    def rollback(self, name: str) -> Moved:
        """Take an active model back, and let the one before it be active again exactly as it was.

        Raises:
            InputError: it is not active, there is none before it, or that one is not whole; nothing changed.

        """
        with writing(self.folder):
            lives = self._settled()
            life = self._life(name, {})
            if active_in(lives, life.slot) != life:
                raise InputError(f"model '{name}' is {life.stage}, and only an active one can be taken back")
            before = waiting_for(life, lives)
            if before is None:
                raise InputError(
                    f"no model waits to come back for '{name}'; 'tidegate models retire {name}' puts it out "
                    "of use"
                )
            open_model(self.path(before.name))
            at = self._now()
            gone = moved(
                life, Stage.RETIRED, Cause.ROLLED_BACK, at=at, why="taken back by hand", other=before.name
            )
            back = moved(
                before,
                Stage.ACTIVE,
                Cause.RESTORED,
                at=at,
                why=f"'{name}' was taken back",
                other=before.came_after,
            )
            self._write(gone, back)
            return Moved(life=gone, other=back)

    def write_record(self, name: str, record: Record) -> None:
        """Write down what a model's time in shadow came to so far, over what was written before.

        Raises:
            InputError: it is not in shadow, or the record is of other weights or can't be.

        """
        with writing(self.folder):
            life = self._life(name, self._pending())
            if life.stage is not Stage.SHADOW or record.weights_sha256 != life.weights_sha256:
                raise InputError(
                    f"model '{name}' is not in shadow with those weights; promote it there first"
                )
            write_file(self.path(name) / RECORD, sealed(checked_record(record)))

    def _activate(self, life: Life, lives: Mapping[str, Life]) -> Moved:
        """Let a model in shadow take the place of the active one, if any, if its record earns it."""
        for one in (self._one(name, {}) for name in self.names() if name not in lives):
            if one.card is not None and one.card.slot == life.slot:
                raise InputError(f"'{one.name}' may be active, and can't be read: {one.problem}")
        before = active_in(lives, life.slot)
        record = self.record(life.name)
        if record is None:
            _stay(life, "there is no record of it in shadow yet")
        if record.weights_sha256 != life.weights_sha256:
            _stay(life, "its record is of other weights")
        active = (None, None) if before is None else (before.name, before.weights_sha256)
        if (record.against, record.against_sha256) != active:
            _stay(life, f"its record is against '{record.against}', which is not what is active now")
        said = verdict(record)
        if not said.better:
            _stay(life, said.why)
        at = self._now()
        other = None if before is None else before.name
        after = moved(life, Stage.ACTIVE, Cause.PROMOTED, at=at, why=said.why, other=other)
        if before is None:
            self._write(after)
            return Moved(life=after)
        why = f"replaced by '{life.name}': {said.why}"
        gone = moved(before, Stage.RETIRED, Cause.REPLACED, at=at, why=why, other=life.name)
        self._write(gone, after)
        return Moved(life=after, other=gone)

    def _write(self, *lives: Life) -> None:
        """Write stages, all or none."""
        if len(lives) > 1:
            write_file(self.folder / MOVES, sealed(_Moves({life.name: life for life in lives})))
        for life in lives:
            write_file(self.folder / life.name / STAGE, sealed(life))
        if len(lives) > 1:
            self._forget_moves()

    def _settled(self) -> dict[str, Life]:
        """Finish what a crash left half done; return all stages that can be read."""
        pending = self._pending()
        for life in pending.values():
            if (self.folder / life.name).is_dir():
                write_file(self.folder / life.name / STAGE, sealed(life))
        if pending:
            self._forget_moves()
        found = (self._one(name, {}) for name in self.names())
        return {one.name: one.life for one in found if one.life is not None}

    def _forget_moves(self) -> None:
        (self.folder / MOVES).unlink()
        sync_folder(self.folder)

    def _pending(self) -> Mapping[str, Life]:
        """Return the stages that were decided, and may not be in their folders yet."""
        where = self.folder / MOVES
        if not where.is_symlink() and not where.exists():
            return {}
        data = read_file(self.folder, MOVES, bytes_max=SMALL_BYTES_MAX)
        try:
            return unsealed(data, _Moves).lives
        except ValueError as error:
            raise InputError(
                f"{where} can't be trusted ({error}); remove it and look at 'tidegate models list'"
            ) from error

    def _one(self, name: str, pending: Mapping[str, Life]) -> Held:
        card = life = None
        problems = []
        try:
            card = read_card(self.path(name))
        except InputError as error:
            problems.append(str(error))
        try:
            life = self._life(name, pending)
        except InputError as error:
            problems.append(str(error))
        return Held(name=name, card=card, life=life, problem=problems[0] if problems else None)

    def _life(self, name: str, pending: Mapping[str, Life]) -> Life:
        return pending[name] if name in pending else read_life(self.path(name))

    def _check_free(self, name: str) -> None:
        names = self.names()
        if checked_name(name) in {MOVES, *names}:
            raise InputError(f"there is a model '{name}' in {self.folder} already; choose another name")
        if len(names) >= MODELS_MAX:
            raise InputError(f"{self.folder} holds {MODELS_MAX:,} models; remove folders of retired ones")

    def _sweep(self) -> None:
        """Remove what a crash left half written."""
        for path in self.folder.glob(f".*{PART}"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _now(self) -> str:
        return iso(self.clock.now_seconds())


def model_store(folder: Path | None, clock: Clock) -> ModelStore:
    """Return the store in a folder; None is where all state is kept."""
    return ModelStore(state_folder() / FOLDER if folder is None else folder, clock)


def iso(time_seconds: int) -> str:
    """Return a time as cards and stages have it, such as ``2024-01-31T20:15:00Z``."""
    return datetime.fromtimestamp(time_seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _stay(life: Life, why: str) -> NoReturn:
    raise InputError(
        f"model '{life.name}' stays in shadow: {why}; 'tidegate models judge {life.name} TRACE' judges it on "
        "samples that it has not seen"
    )


__all__ = ["FOLDER", "MODELS_MAX", "Held", "ModelStore", "Moved", "iso", "model_store"]
