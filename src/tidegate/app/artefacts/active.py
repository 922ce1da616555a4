"""From a store to a forecaster at work: the active model, or the one before it where that can't be opened."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol

from tidegate.app.artefacts.folder import open_model
from tidegate.app.artefacts.stages import active_in, waiting_for
from tidegate.app.path_models import GROUP, PATH_MODELS, path_model, without_feeds
from tidegate.model.errors import InputError
from tidegate.ports import PathForecaster, Stateful

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.app.artefacts.folder import Opened
    from tidegate.app.artefacts.store import Held, ModelStore


class StorableModel(PathForecaster, Stateful, Protocol):
    """A path model whose training can be stored."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Active:
    """The model to act on."""

    opened: Opened
    fell_back: str | None = None
    """Why it is not the active one but one that was before; None if it is."""


def load_active(
    store: ModelStore, kind: str, resource: str, *, step_seconds: int | None = None
) -> Active | None:
    """Open the active model of a kind and resource; where it is refused, the one it replaced, and so on back.

    None if nothing is active there. Who was rolled back or retired by hand is never fallen back to.

    Raises:
        InputError: something is active, and neither it nor any before it can be opened.

    """
    refused: list[str] = []
    for name in _newest_first(store.held(), (kind, resource), refused):
        try:
            opened = open_model(store.path(name), kind=kind, resource=resource, step_seconds=step_seconds)
        except InputError as error:
            refused.append(str(error))
            continue
        if not refused:
            return Active(opened=opened)
        return Active(opened=opened, fell_back=f"model '{name}', active before, is used: {refused[0]}")
    if refused:
        raise InputError(refused[0])
    return None


def _newest_first(held: list[Held], slot: tuple[str, str], refused: list[str]) -> Iterator[str]:
    """Yield names from the active model back; say in ``refused`` whose stage can't be read."""
    lives = {one.name: one.life for one in held if one.life is not None}
    active = active_in(lives, slot)
    if active is None:
        unread = [one for one in held if one.life is None and one.card is not None and one.card.slot == slot]
        refused.extend(one.problem for one in unread if one.problem is not None)
        names = {one.name for one in unread}
        waiting = [life for life in lives.values() if life.slot == slot and life.gave_way_to in names]
        current = max(waiting, key=lambda life: (life.active_since, life.name), default=None)
    else:
        current = active
    while current is not None:
        yield current.name
        current = waiting_for(current, lives)


def revived(opened: Opened) -> StorableModel:
    """Make the forecaster that a model's card names, and give it back what it had learned.

    Raises:
        InputError: nobody goes by the kind's name, what it needs is not installed, or the weights are
            not of it.

    """
    card = opened.card
    model = storable(card.kind, path_model(card.kind, seed=card.seed))
    try:
        model.restore(opened.weights)
    except InputError as error:
        raise InputError(
            f"model '{card.name}' does not fit this Tidegate: {error}; train it again"
        ) from error
    return model


def new_model(kind: str, *, seed: int) -> StorableModel:
    """Make a path model that has learned nothing yet and can be stored when it has.

    Raises:
        InputError: nobody goes by that name, what it needs is not installed, or it can't be stored.

    """
    if without_feeds(kind) != kind:
        raise InputError(f"model '{kind}' learns from feeds, which training has none of; leave the end off")
    return storable(kind, path_model(kind, seed=seed))


def storable(kind: str, model: PathForecaster) -> StorableModel:
    """Return the model as one that can be stored.

    Raises:
        InputError: it can't be.

    """
    if not _is_stateful(model):
        can = storable_kinds()
        choices = f"choose from {', '.join(can)}" if can else "none that is installed can be"
        raise InputError(f"model '{kind}' has nothing to store, it answers from the samples alone; {choices}")
    return model  # type: ignore[return-value] # the check above is the proof


def storable_kinds() -> list[str]:
    """Return the kinds of path models that are installed and can be stored."""
    plug_ins = sorted(entry.name for entry in entry_points(group=GROUP))
    return [name for name in [*PATH_MODELS, *plug_ins] if _can_be_stored(name)]


def _can_be_stored(kind: str) -> bool:
    try:
        return _is_stateful(path_model(kind, seed=0))
    except Exception:  # noqa: BLE001 - a plug-in that can't be made is not offered
        return False


def _is_stateful(model: object) -> bool:
    return all(callable(getattr(model, name, None)) for name in ("state", "restore"))


__all__ = ["Active", "StorableModel", "load_active", "new_model", "revived", "storable", "storable_kinds"]
