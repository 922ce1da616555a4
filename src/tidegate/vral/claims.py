"""The nouns: what a guest asks for, what it then holds, and what it is told about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from tidegate.model.resources import Resource  # noqa: TC001 - who reads a journal of these asks for its type

AMOUNT_MAX: Final = 2.0**60
"""Largest amount that can be asked for: an exbibyte, or as many cores."""
TTL_SECONDS: Final = 60.0
"""How long a lease holds without renewal where nothing else was asked for."""
TTL_SECONDS_MAX: Final = 3600.0
DEADLINE_SECONDS: Final = 30.0
"""How long a lease may take to be in force where nothing else was asked for."""
DEADLINE_SECONDS_MAX: Final = 600.0
PRIORITY_MAX: Final = 8
"""Highest SLA class, as in a domain's policy."""
ROUNDING_RATIO: Final = 1e-9
"""Amounts below this share of what was asked for are rounding."""
NEVER: Final = math.inf


class Health(Enum):
    """How far what a lease says is true."""

    APPLYING = "applying"
    """Promised, and not yet read back."""
    HEALTHY = "healthy"
    """In force, as read back."""
    DEGRADED = "degraded"
    """It was in force and is not now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is asked for; amounts in base units."""

    request_id: str
    """The same one again is the same claim."""
    resource: Resource
    least: float
    """Less than this is of no use: then nothing is taken."""
    wanted: float
    burst: float
    """Most it may grow to by itself where the forecast says so."""
    priority: int = 0
    """SLA class; 0: the VM's own, which is also the highest it may name."""
    deadline_seconds: float = DEADLINE_SECONDS
    ttl_seconds: float = TTL_SECONDS
    near: bool = False
    """It must not live behind a link."""
    may_be_slower: bool = False
    """It may be served by what is slower than the host's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """How much of a lease comes from where; for the host's own books only."""

    supply: str
    amount: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What a VM holds for a while; instants are seconds on a clock that only runs forwards."""

    name: str
    vm: str
    workload_id: int
    claim: Claim
    """As it stands now: renewals change amounts."""
    first: Claim
    """As it was claimed, to know the same request again."""
    priority: int
    parts: tuple[Part, ...]
    health: Health
    asserted_seconds: float
    """When the guest last said that it wants it."""
    due_seconds: float
    """When it must be in force."""
    expires_seconds: float
    shrinks_to: float = 0.0
    shrinks_seconds: float = NEVER
    """When it shrinks to that; never, where that is not planned."""
    pressed_seconds: float = -NEVER
    """When its guest was last told that more will be wanted than there is."""

    @property
    def amount(self) -> float:
        """What it holds in all."""
        return math.fsum(part.amount for part in self.parts)

    @property
    def short(self) -> float:
        """What it lacks of what was wanted; rounding is nothing."""
        lacks = self.claim.wanted - self.amount
        return lacks if lacks > ROUNDING_RATIO * self.claim.wanted else 0.0

    def applied_from(self, now_seconds: float) -> Lease:
        """Return the lease as it is once something of it has moved: to be in force by its deadline."""
        due = now_seconds + self.claim.deadline_seconds
        return replace(self, health=Health.APPLYING, due_seconds=due)

    def drawn(self, supply: str) -> float:
        """Return what of it comes from one supply."""
        return math.fsum(part.amount for part in self.parts if part.supply == supply)


class Why(Enum):
    """What a notice tells."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    GROWN = "grown"
    SHRINKING = "shrinking"
    """It will hold less at a time that is named: prepare."""
    SHRUNK = "shrunk"
    PRESSURE = "pressure"
    """More will be wanted than can be had: prepare."""
    EXPIRED = "expired"
    FAILED = "failed"
    """It was not in force in time, or what is left is of no use: it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something a guest should know of a lease."""

    why: Why
    lease: Lease
    in_seconds: float = 0.0
    amount: float = 0.0
    """What it will hold, or what will be missing."""


ENDED_BY: Final = frozenset({Why.EXPIRED, Why.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A lease that is over, kept for a while so that a release that is sent again is answered again."""

    name: str
    vm: str
    request_id: str = ""
    """Of the release; empty where nobody asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to be written down and then done."""

    put: Lease | None = None
    ended: Ended | None = None
    notices: tuple[Notice, ...] = ()
