"""Applications on a card: what is wanted of them, what they hold, and how they are."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping  # noqa: TC003 - msgspec reads it when it runs
from dataclasses import dataclass, field, fields
from enum import Enum, IntEnum
from typing import Final

from tidegate.model.errors import InputError

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""What cards and applications may be called: safe as a file's and a cgroup's name, and in a resource name."""
VIOLATION_RATE: Final = 0.01
"""Share of samples that may run short where nothing was agreed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """How much of each resource, in base units; None says nothing: no wish, no limit, not measured."""

    cpu_cores: float | None = None
    memory_bytes: int | None = None
    gpu_fraction: float | None = None
    network_bytes_per_second: int | None = None
    storage_bytes_per_second: int | None = None

    def __post_init__(self) -> None:
        """Refuse amounts that can't be.

        Raises:
            InputError: one is negative, infinite or not a number.

        """
        for name, amount in self.known().items():
            if not math.isfinite(amount) or amount < 0:
                raise InputError(f"{name} is {amount:g}; amounts are finite and not negative")

    def known(self) -> dict[str, float]:
        """Return the amounts that are said, by name."""
        said = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: amount for name, amount in said.items() if amount is not None}

    def over(self, base: Amounts) -> Amounts:
        """Return these amounts, with ``base`` where they say nothing."""
        return Amounts(**base.known() | self.known())  # type: ignore[arg-type] # names and types are the fields'


@dataclass(frozen=True, slots=True, kw_only=True)
class Sla:
    """What was agreed with an application's owner."""

    violation_rate: float = VIOLATION_RATE
    """Share of samples that may run short, in (0, 0.5]."""
    latency_p99_max_seconds: float | None = None
    priority: int = 0
    """SLA class, 0-255; a higher one gives way later."""

    def __post_init__(self) -> None:
        """Refuse what can't be agreed.

        Raises:
            InputError: a number is out of its range.

        """
        if not 0 < self.violation_rate <= 0.5:
            raise InputError(f"a violation rate of {self.violation_rate:g} is outside (0, 0.5]")
        if self.latency_p99_max_seconds is not None and not 0 < self.latency_p99_max_seconds < math.inf:
            raise InputError(
                f"a latency of {self.latency_p99_max_seconds:g} s can't be agreed; give one above 0"
            )
        if not 0 <= self.priority <= 255:
            raise InputError(f"priority {self.priority} is outside 0-255")


class Restart(Enum):
    """What to do when a program ends by itself."""

    ON_FAILURE = "on-failure"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationSpec:
    """What is wanted of an application."""

    command: tuple[str, ...]
    """The program and its arguments; ``{port}`` stands for each of ``ports`` in its order."""
    environment: Mapping[str, str] = field(default_factory=dict)
    working_folder: str = ""
    """Empty: a folder of its own on the card."""
    ports: tuple[int, ...] = ()
    """TCP ports it serves on."""
    amounts: Amounts = field(default_factory=Amounts)
    """What it holds at first."""
    floor: Amounts = field(default_factory=Amounts)
    ceiling: Amounts = field(default_factory=Amounts)
    sla: Sla = field(default_factory=Sla)
    hands_off: bool = False
    """Whether it speaks the hand-off contract on its control socket."""
    server: str = ""
    """Whose work it does; empty: nobody's in particular."""
    state_bytes: int = 0
    """How large its state is, as its owner estimates."""
    restart: Restart = Restart.ON_FAILURE
    budget: Amounts = field(default_factory=Amounts)
    """Most it may hold for now, as the fleet shares its card out; the ceiling where it says nothing."""

    def __post_init__(self) -> None:
        """Refuse what can't be run.

        Raises:
            InputError: there is no command, a port can't be, or amounts lie outside floor and ceiling.

        """
        if not self.command or not self.command[0]:
            raise InputError("an application needs a command; give the program and its arguments")
        for port in self.ports:
            if not 0 < port < 65_536:
                raise InputError(f"port {port} is outside 1-65535")
        if self.state_bytes < 0:
            raise InputError(f"a state of {self.state_bytes} bytes can't be; give 0 where it is unknown")
        within(self.amounts, self.floor, self.ceiling)


class ApplicationState(IntEnum):
    """How an application is, in one word."""

    STOPPED = 1
    RUNNING = 2
    STANDBY = 3
    """It runs, waits for another's state, and does not serve."""
    RELEASING = 4
    """It handed its state out, and serves no more until the move is settled."""
    FAILED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An application found running."""

    name: str
    epoch: int
    standby: bool
    """Whether it waits for another's state: started to, and none was imported since."""
    processes: int
    held: Amounts
    """As read back from the kernel."""
    listens: bool = True
    """Whether it can be given a state: one on standby can't while its program is being loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Counters and gauges of one application; counters grow from its start."""

    name: str
    time_seconds: float
    """Seconds since 1970 UTC at which they were read."""
    cpu_seconds: float
    memory_bytes: int
    network_bytes: int | None = None
    """Sent, and received where the kernel tells that by application too; None where it tells neither."""
    storage_bytes: int | None = None
    throttled_seconds: float = 0.0
    cpu_pressure_seconds: float | None = None
    memory_pressure_seconds: float | None = None
    storage_pressure_seconds: float | None = None
    latency_p99_seconds: float | None = None
    """Over the last minute, where it exports it."""
    requests: int | None = None
    """Served since its start, where it exports it."""


def within(amounts: Amounts, floor: Amounts, ceiling: Amounts) -> None:
    """Refuse amounts outside floor and ceiling, or a floor above the ceiling.

    Raises:
        InputError: one is, with its name and the limit.

    """
    least, most, said = floor.known(), ceiling.known(), amounts.known()
    for name, limit in most.items():
        if least.get(name, 0) > limit:
            raise InputError(f"{name}: the floor of {least[name]:g} is above the ceiling of {limit:g}")
        if said.get(name, 0) > limit:
            raise InputError(f"{name} is {said[name]:g}, above the ceiling of {limit:g}")
    for name, limit in least.items():
        if name in said and said[name] < limit:
            raise InputError(f"{name} is {said[name]:g}, below the floor of {limit:g}")


def checked_name(kind: str, name: str) -> str:
    """Return the name of a card or an application, unless it can't be one.

    Raises:
        InputError: it is empty, too long, or has other letters.

    """
    if NAME.fullmatch(name) is None:
        raise InputError(
            f"{kind} can't be called {name!r}; use 1 to 63 letters, digits, '.', '_' and '-', the first a "
            "letter or a digit"
        )
    return name
