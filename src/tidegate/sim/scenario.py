"""What a simulated world is made of: servers, cards, classes of workloads, and what goes wrong, as TOML.

A scenario file is read here, once, into frozen records; `tidegate.drivers.simulated.build` makes a fleet
of them. Every key, its unit and its default are in docs/reference/scenarios.md.
"""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from tidegate.model.byte_amounts import parse_bytes
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DEFAULT: Final = "default"
"""Name of the scenario that comes with the package."""

NUMBER: Final = "{n}"
"""Stands for 1, 2, 3 ... in the names of a counted table."""

_LARGEST: Final = 1e30
"""No number of a scenario is as large, and what is computed from it stays finite."""

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Seed = Annotated[int, msgspec.Meta(ge=0, le=10**15)]
Bytes = str | Annotated[float, msgspec.Meta(ge=0)]
"""An amount of bytes (or bytes a second) as a number or as text such as ``"256GiB"``."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A TOML table in which a misspelt key is an error."""


class Servers(_Table, frozen=True, kw_only=True):
    """Servers that are alike."""

    name: str
    count: Count = 1
    cores: Positive
    memory_bytes: Bytes
    gpu: NotNegative = 0.0
    network_bytes_per_second: Bytes = "25Gb"
    storage_bytes_per_second: Bytes = "4GB"

    @property
    def names(self) -> list[str]:
        """The name of each server, in order."""
        return _numbered(self.name, self.count)


class Cards(_Table, frozen=True, kw_only=True):
    """Offload cards that are alike, and the servers they serve."""

    name: str
    count: Count = 1
    cores: NotNegative
    memory_bytes: Bytes
    gpu: NotNegative = 0.0
    network_bytes_per_second: Bytes = 0.0
    storage_bytes_per_second: Bytes = 0.0
    serves: Annotated[list[str], msgspec.Meta(min_length=1)]
    """Server names; ``*`` stands for any text, ``{n}`` for the card's own number."""
    link_bytes_per_second: Bytes
    card_core_ratio: Positive = 0.5
    """What one card core is worth, in host cores."""

    @property
    def names(self) -> list[str]:
        """The name of each card, in order."""
        return _numbered(self.name, self.count)


class Floors(_Table, frozen=True, kw_only=True):
    """Least a workload always holds, as shares of what it was sold."""

    cpu: Ratio = 0.0
    memory: Ratio = 0.0
    gpu: Ratio = 0.0
    network: Ratio = 0.0
    storage: Ratio = 0.0


class Workloads(_Table, frozen=True, kw_only=True):
    """A class of workloads: what each is sold, what was agreed, and what a card can do for it."""

    name: str
    count: Count = 1
    cores: Positive
    memory_bytes: Bytes
    gpu: NotNegative = 0.0
    network_bytes_per_second: Bytes = 0.0
    storage_bytes_per_second: Bytes = 0.0
    sla_violation_rate: Annotated[float, msgspec.Meta(gt=0, le=0.5)] = 0.01
    priority: Annotated[int, msgspec.Meta(ge=0, le=255)] = 1
    floor: Floors = Floors()
    offloadable_cpu_ratio: Ratio = 0.0
    far_memory_ratio: Ratio = 0.0
    offloadable_gpu_ratio: Ratio = 1.0
    offloadable_network_ratio: Ratio = 0.0
    offloadable_storage_ratio: Ratio = 0.0

    @property
    def names(self) -> list[str]:
        """The name of each workload, in order."""
        return _numbered(self.name, self.count)

    @property
    def sold(self) -> dict[Resource, float]:
        """What each workload is sold, in base units; 0 where it has none."""
        return _amounts(self)

    @property
    def floors(self) -> dict[Resource, float]:
        """Least it holds, as shares of what it is sold."""
        return {resource: float(getattr(self.floor, resource.label)) for resource in Resource}

    @property
    def offloadable(self) -> dict[Resource, float]:
        """Share of its demand that a card may serve."""
        return {
            Resource.CPU: self.offloadable_cpu_ratio,
            Resource.MEMORY: self.far_memory_ratio,
            Resource.GPU: self.offloadable_gpu_ratio,
            Resource.NETWORK: self.offloadable_network_ratio,
            Resource.STORAGE: self.offloadable_storage_ratio,
        }


class Placement(_Table, frozen=True, kw_only=True):
    """How much more than it has a server may sell."""

    cpu_oversubscription_ratio: Annotated[float, msgspec.Meta(ge=1)] = 1.0
    memory_oversubscription_ratio: Annotated[float, msgspec.Meta(ge=1)] = 1.0


class Moves(_Table, frozen=True, kw_only=True):
    """What moving between places costs, and how often it fails."""

    rehome_pause_seconds: NotNegative = 0.5
    migrate_pause_seconds: NotNegative = 1.0
    state_ratio: Ratio = 0.1
    """Share of a workload's used memory that goes along when all of its CPU or GPU moves."""
    rehome_failure_ratio: Ratio = 0.0
    migrate_failure_ratio: Ratio = 0.0
    timeout_seconds: Positive = 900.0
    seed: Seed = 0


class Scenario(_Table, frozen=True, kw_only=True):
    """A whole world."""

    seed: Seed = 0
    servers: Annotated[list[Servers], msgspec.Meta(min_length=1)]
    cards: list[Cards] = []
    workloads: Annotated[list[Workloads], msgspec.Meta(min_length=1)]
    placement: Placement = Placement()
    moves: Moves = Moves()


def amounts_of(table: Servers | Cards | Workloads) -> dict[Resource, float]:
    """Return what a place has or a workload is sold, in base units."""
    return _amounts(table)


def read_scenario(path: Path | None = None) -> Scenario:
    """Return the scenario in a TOML file, or the one that comes with the package.

    Raises:
        InputError: the file can't be read, is no TOML, or a key is unknown, missing or out of range; the
            sentence names file and key.

    """
    if path is None:
        text = (files("tidegate.sim") / "scenarios" / f"{DEFAULT}.toml").read_text("utf-8")
        return parse_scenario(text, DEFAULT)
    try:
        str(path).encode()
        text = path.read_text("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"the name {str(path)!r} is not UTF-8; rename the file") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"cannot read scenario {path}: {reason}; name a TOML file") from error
    return parse_scenario(text, str(path))


def parse_scenario(text: str, source: str) -> Scenario:
    """Return the scenario in a text; ``source`` names it in errors.

    Raises:
        InputError: as `read_scenario`.

    """
    try:
        tree = tomllib.loads(text)
        _check_numbers(tree, source, "")
        scenario = msgspec.convert(tree, Scenario)
    except RecursionError as error:
        raise InputError(
            f"{source} nests too deeply; write tables as in docs/reference/scenarios.md"
        ) from error
    except ValueError as error:
        if isinstance(error, msgspec.ValidationError):
            raise InputError(f"{source}: {_explained(str(error))}") from error
        raise InputError(f"{source} is no TOML: {error}; mend that line") from error
    tables: list[tuple[str, Any]] = [
        *(("servers", table) for table in scenario.servers),
        *(("cards", table) for table in scenario.cards),
        *(("workloads", table) for table in scenario.workloads),
    ]
    for kind, table in tables:
        _check_table(kind, table, source)
    _check_names((name for kind, table in tables if kind != "workloads" for name in table.names), source)
    _check_names((name for table in scenario.workloads for name in table.names), source)
    return scenario


def _amounts(table: Servers | Cards | Workloads) -> dict[Resource, float]:
    return {
        Resource.CPU: table.cores,
        Resource.MEMORY: parse_bytes(table.memory_bytes),
        Resource.GPU: table.gpu,
        Resource.NETWORK: parse_bytes(table.network_bytes_per_second),
        Resource.STORAGE: parse_bytes(table.storage_bytes_per_second),
    }


def _numbered(name: str, count: int) -> list[str]:
    return [name.replace(NUMBER, str(number)) for number in range(1, count + 1)]


def _check_numbers(value: object, source: str, key: str) -> None:
    """Refuse numbers without end and beyond all sizes, which TOML allows, wherever they stand."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_numbers(inner, source, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            _check_numbers(inner, source, f"{key}[{at}]")
    elif isinstance(value, int | float) and not -_LARGEST < value < _LARGEST:
        shown = "a number far too large" if isinstance(value, int) else f"{value:g}"
        raise InputError(f"{source}: {key} is {shown}; write a number of usual size")


def _check_table(kind: str, table: Servers | Cards | Workloads, source: str) -> None:
    """Refuse what the types alone can't: unreadable amounts and counted names without a number."""
    where = f"{source}: {kind} '{table.name}'"
    keys = [key for key in table.__struct_fields__ if key.endswith(("_bytes", "_bytes_per_second"))]
    for key in keys:
        try:
            amount = parse_bytes(getattr(table, key))
        except InputError as error:
            raise InputError(f"{where}: {key} = {error}") from error
        needed = "link_bytes_per_second" if kind == "cards" else "memory_bytes"
        if key == needed and amount <= 0:
            raise InputError(f"{where}: {key} must be above 0; write an amount like 16GiB")
    if table.count > 1 and NUMBER not in table.name:
        raise InputError(
            f'{where}: {table.count} of them need different names; write name = "{table.name}-{NUMBER}"'
        )


def _check_names(names: Iterable[str], source: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{source}: the name '{name}' stands twice; give each its own")
        seen.add(name)


def _explained(problem: str) -> str:
    """Turn msgspec's words into a sentence that says what to do."""
    what, _, path = problem.partition(" - at `$")
    key = path.rstrip("`").lstrip(".") or "the top level"
    unknown = re.search(r"unknown field `(\w+)`", what)
    if unknown:
        return f"unknown key '{unknown[1]}' in {key}; take it out or mend its spelling"
    missing = re.search(r"missing required field `(\w+)`", what)
    if missing:
        return f"{key} has no '{missing[1]}'; add it"
    return f"{key}: {what[:1].lower()}{what[1:]}; mend the value"


__all__ = [
    "DEFAULT",
    "Cards",
    "Floors",
    "Moves",
    "Placement",
    "Scenario",
    "Servers",
    "Workloads",
    "amounts_of",
    "parse_bytes",
    "parse_scenario",
    "read_scenario",
]
