"""Where Tidegate keeps what must outlive it: journals, and the owner's settings it changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MACHINE: Final = "machine.db"
"""The journal of this machine."""
SIMULATED: Final = "simulated.db"
"""The journal of the simulated fleet."""
CARDS: Final = "cards"
"""Folder of what cards remember, each in one of its name."""
DECISIONS: Final = "decisions.db"
"""In a card's folder: what its fast loop decided and why."""
FLEET: Final = "fleet"
"""Folder of what the fleet manager remembers."""
CONTROLS: Final = "controls.db"
"""In the fleet manager's folder: a journal without ticks, in which people say whom it may move, and pause."""


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where state is kept, as the XDG base directory specification has it.

    A state home that is not a whole path is ignored, as it asks.
    """
    given = environ.get("XDG_STATE_HOME", "")
    if given and Path(given).is_absolute():
        return Path(given) / "tidegate"
    return Path(environ.get("HOME") or Path.cwd()) / ".local" / "state" / "tidegate"


__all__ = ["CARDS", "CONTROLS", "DECISIONS", "FLEET", "MACHINE", "SIMULATED", "state_folder"]
