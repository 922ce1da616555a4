"""What devices, fleet manager and agent have written down, read beside them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from tidegate.lab.bench.device.killing_world import CARDS, FLEET

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.lab.bench.device.killing_world import World

FILES: Final = dict.fromkeys(CARDS, "card.sqlite") | {FLEET: "fleet.sqlite"}
SWITCHING: Final = 3
"""A migration's phase, as a device's store has it."""
NOT_KNOWN: Final = "%it is not known yet whether%"
"""What an adjustment's reason says until somebody has looked."""


def rows_of(world: World, program: str, query: str, *given: str) -> list[Any] | None:
    """Return what a query finds in a program's store; None where it can't be read."""
    path = world.programs[program].state / FILES[program]
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1.0)) as store:
            return store.execute(query, given).fetchall()
    except sqlite3.Error:
        return None


def stored(world: World, letter: str) -> tuple[dict[str, dict[str, Any]], list[str], dict[str, Any]] | None:
    """Return a device's applications, migrations that go on, and settings; None where it can't be read."""
    rows = rows_of(world, letter, "SELECT data FROM applications")
    going = rows_of(world, letter, "SELECT id FROM migrations WHERE ended = 0")
    settings = rows_of(world, letter, "SELECT data FROM settings")
    if rows is None or going is None or settings is None:
        return None
    applications = [json.loads(data) for (data,) in rows]
    known = json.loads(settings[0][0]) if settings else {}
    return {one["name"]: one for one in applications}, [name for (name,) in going], known


def switches(world: World, letter: str) -> bool:
    """Return whether something is between two owners: it serves here no more, and not there yet."""
    rows = rows_of(world, letter, "SELECT data FROM migrations WHERE ended = 0") or []
    return any(json.loads(data)["phase"] == SWITCHING for (data,) in rows)


def in_flight(world: World, letter: str) -> list[str]:
    """Return the adjustments of which a device does not know what came of them."""
    rows = rows_of(world, letter, "SELECT id FROM adjustments WHERE CAST(data AS TEXT) LIKE ?", NOT_KNOWN)
    return [name for (name,) in rows or []]


def ledger_of(path: Path) -> dict[str, Any]:
    """Return the entries of an agent's ledger, by file; none where there is none."""
    entries = json_of(path).get("entries", {})
    return entries if isinstance(entries, dict) else {}


def json_of(path: Path) -> dict[str, Any]:
    """Return what a file of JSON says; nothing where it is not there."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


__all__ = ["in_flight", "json_of", "ledger_of", "rows_of", "stored", "switches"]
