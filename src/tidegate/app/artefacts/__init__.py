"""Trained models: stored whole, opened only unaltered, promoted on a record, rolled back in one command."""

from tidegate.app.artefacts.active import Active, load_active, new_model, revived, storable_kinds
from tidegate.app.artefacts.card import Card, Data, Score
from tidegate.app.artefacts.folder import Opened, open_model
from tidegate.app.artefacts.record import Block, Record
from tidegate.app.artefacts.stages import Life, Move, Stage
from tidegate.app.artefacts.store import Held, ModelStore, Moved, model_store

__all__ = [
    "Active",
    "Block",
    "Card",
    "Data",
    "Held",
    "Life",
    "ModelStore",
    "Move",
    "Moved",
    "Opened",
    "Record",
    "Score",
    "Stage",
    "load_active",
    "model_store",
    "new_model",
    "open_model",
    "revived",
    "storable_kinds",
]
