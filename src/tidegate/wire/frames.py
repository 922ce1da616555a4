"""What a server tells its card, as arrays: who it is, its workloads, and a sample of them each step.

Whatever comes in is checked here: a record from this module fits its roster and may be computed with. Arrays
share the message's memory and are read-only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.application import checked_name
from tidegate.model.refusals import Because, InvalidField, Refusal
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST, NO_CARD, SHARES, Places, Roster
from tidegate.model.snapshot import Snapshot
from tidegate.wire.behaviours import behaviour_message, behaviour_record
from tidegate.wire.card.v1 import telemetry_pb2
from tidegate.wire.clocks import NANOSECONDS, duration, nanoseconds, whole_seconds
from tidegate.wire.columns import checked_amounts, checked_flags, checked_within, packed, unpacked
from tidegate.wire.fields import checked_count, checked_text, in_field

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.behaviour import Behaviour

WORKLOADS_MAX: Final = 10_000
"""Of one server: five resources in three frames are 0.6 MB, well below the 4 MiB a message may have."""
WORKLOAD_NAME_BYTES_MAX: Final = 1024
"""Longest name of a workload: cgroups have paths for names."""
INCARNATION_BYTES_MAX: Final = 64
PROBE_ADDRESS_BYTES_MAX: Final = 300
"""A host's name of 253 letters, and a port."""
NUMBER_MAX: Final = 2**62
"""Of batches, orders, rosters and epochs."""
STEP_MIN_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Greeting:
    """Who an agent is."""

    server: str
    incarnation: str
    """Drawn anew at each start of the agent."""
    resources: tuple[Resource, ...]
    """What it measures: the rows of its frames."""
    step_seconds: float
    allocatable: NDArray[np.float64]
    """(resources,) what may be granted there; infinite where nothing limits it."""
    epoch: int = 0
    """Highest epoch of orders it has carried out."""
    probe_address: str = ""
    """Where it answers probes of its link, `host:port`; empty where it doesn't."""
    settings_given_back: int = 0
    """What an earlier agent had left changed, and was put back at this one's start."""
    pci_bytes_per_second: float = 0.0
    """What the PCI link to the card carries; 0 where it is none, or nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServerRoster:
    """The workloads of one server, and what can be set there."""

    version: int
    roster: Roster
    settable: NDArray[np.bool_]
    """(resources, workloads) where the agent can set a limit."""

    @property
    def shape(self) -> tuple[int, int]:
        """How many resources and workloads frames have."""
        return self.settable.shape[0], self.settable.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """One sample of every workload of a server: frames (resources, workloads), base units."""

    number: int
    roster_version: int
    time_nanoseconds: int
    """Since 1970 UTC, at the end of the interval."""
    used: NDArray[np.float32]
    capacity: NDArray[np.float32]
    grant: NDArray[np.float32]
    """What each holds at the server."""
    pressed: NDArray[np.bool_]
    behaviour: Behaviour | None = None
    """What no frame holds; None where nobody measures it."""


def greeting_message(greeting: Greeting) -> telemetry_pb2.Hello:
    """Return who an agent is as it is sent."""
    return telemetry_pb2.Hello(
        server=greeting.server,
        incarnation=greeting.incarnation,
        resources=[int(resource) for resource in greeting.resources],
        step_nanoseconds=nanoseconds(greeting.step_seconds, "step"),
        allocatable=greeting.allocatable.tolist(),
        epoch=greeting.epoch,
        probe_address=greeting.probe_address,
        settings_given_back=greeting.settings_given_back,
        pci_bytes_per_second=round(greeting.pci_bytes_per_second),
    )


def greeting_record(message: telemetry_pb2.Hello) -> Greeting:
    """Return who an agent is.

    Raises:
        InvalidField: it can't be called so, measures nothing or nothing known, or a number can't be.

    """
    with in_field("hello"):
        with in_field("server"):
            server = checked_name("a server", message.server)
        rows = list(message.resources)
        if not 0 < len(rows) <= len(Resource) or rows != sorted(set(rows) & set(Resource)):
            raise InvalidField(
                "resources", f"{rows[:9]} are no resources; name some of 0-{len(Resource) - 1}, rising"
            )
        step = duration(message.step_nanoseconds, "step_nanoseconds")
        if step < STEP_MIN_SECONDS:
            raise InvalidField(
                "step_nanoseconds",
                f"{message.step_nanoseconds} is below {STEP_MIN_SECONDS:g} s",
                limit=STEP_MIN_SECONDS,
            )
        allocatable = np.array(message.allocatable, dtype=np.float64)
        if allocatable.size != len(rows):
            raise InvalidField("allocatable", f"{allocatable.size} amounts of {len(rows)} resources")
        checked_amounts("allocatable", allocatable, unlimited=True)
        if not message.incarnation:
            raise InvalidField("incarnation", "it is empty; draw one at each start")
        return Greeting(
            server=server,
            incarnation=checked_text("incarnation", message.incarnation, INCARNATION_BYTES_MAX),
            resources=tuple(Resource(row) for row in rows),
            step_seconds=step,
            allocatable=allocatable,
            epoch=checked_number("epoch", message.epoch),
            probe_address=checked_text("probe_address", message.probe_address, PROBE_ADDRESS_BYTES_MAX),
            settings_given_back=checked_number("settings_given_back", message.settings_given_back),
            pci_bytes_per_second=checked_number("pci_bytes_per_second", message.pci_bytes_per_second),
        )


def roster_message(who: ServerRoster) -> telemetry_pb2.RosterColumns:
    """Return who is there as it is sent."""
    roster = who.roster
    return telemetry_pb2.RosterColumns(
        version=who.version,
        ids=packed(roster.ids, np.int64),
        names=roster.names,
        violation_rates=packed(roster.violation_rate, np.float32),
        priorities=packed(roster.priority, np.uint8),
        floors=packed(roster.floor, np.float32),
        offloadable_ratios=packed(roster.offloadable_ratio, np.float32),
        settable=packed(who.settable, np.uint8),
    )


def roster_record(message: telemetry_pb2.RosterColumns, resources: int) -> ServerRoster:
    """Return who is there on a server that measures so many resources.

    Raises:
        InvalidField: there are too many, columns disagree, or a number can't be.

    """
    with in_field("roster"):
        workloads = len(message.names)
        checked_count("names", workloads, WORKLOADS_MAX, "workloads")
        for name in message.names:
            checked_text("names", name, WORKLOAD_NAME_BYTES_MAX)
        shape = resources, workloads
        rates = unpacked("violation_rates", message.violation_rates, np.float32, (workloads,))
        checked_within("violation_rates", rates, float(np.finfo(np.float32).tiny), 0.5)
        floors = unpacked("floors", message.floors, np.float32, shape)
        checked_amounts("floors", floors)
        ratios = unpacked("offloadable_ratios", message.offloadable_ratios, np.float32, shape)
        checked_within("offloadable_ratios", ratios, 0, 1)
        return ServerRoster(
            version=checked_number("version", message.version),
            roster=Roster(
                ids=unpacked("ids", message.ids, np.int64, (workloads,)),
                names=tuple(message.names),
                violation_rate=rates,
                priority=unpacked("priorities", message.priorities, np.uint8, (workloads,)),
                floor=floors,
                offloadable_ratio=ratios,
            ),
            settable=checked_flags("settable", unpacked("settable", message.settable, np.uint8, shape)),
        )


def batch_message(
    snapshot: Snapshot, *, number: int, roster_version: int, behaviour: Behaviour | None = None
) -> telemetry_pb2.Batch:
    """Return a server's own snapshot as it is sent; what it holds on cards is the card's to know."""
    return telemetry_pb2.Batch(
        number=number,
        roster_version=roster_version,
        time_nanoseconds=snapshot.time_seconds * NANOSECONDS,
        used=packed(snapshot.used, np.float32),
        capacity=packed(snapshot.capacity, np.float32),
        grant=packed(snapshot.grant[HOST], np.float32),
        pressed=packed(snapshot.pressed, np.uint8),
        behaviour=None if behaviour is None else behaviour_message(behaviour),
    )


def sample_record(message: telemetry_pb2.Batch, who: ServerRoster) -> Sample:
    """Return one sample of the workloads of a roster.

    Raises:
        InvalidField: frames are of another size, or a number can't be.
        Refusal: it is of another roster (`Because.STALE`).

    """
    with in_field("batch"):
        if message.roster_version != who.version:
            raise Refusal(
                Because.STALE,
                f"batch {message.number} is of roster {message.roster_version}, the last one sent was "
                f"{who.version}; send the roster first",
                field="batch.roster_version",
            )
        used = unpacked("used", message.used, np.float32, who.shape)
        capacity = unpacked("capacity", message.capacity, np.float32, who.shape)
        grant = unpacked("grant", message.grant, np.float32, who.shape)
        checked_amounts("used", used, missing=True)
        checked_amounts("capacity", capacity, missing=True, unlimited=True)
        checked_amounts("grant", grant, missing=True, unlimited=True)
        time_seconds = whole_seconds(message.time_nanoseconds, "time_nanoseconds")
        return Sample(
            number=checked_number("number", message.number),
            roster_version=who.version,
            time_nanoseconds=message.time_nanoseconds,
            used=used,
            capacity=capacity,
            grant=grant,
            pressed=checked_flags("pressed", unpacked("pressed", message.pressed, np.uint8, who.shape)),
            behaviour=behaviour_record(message.behaviour, who.roster, time_seconds=time_seconds)
            if message.HasField("behaviour")
            else None,
        )


def server_snapshot(greeting: Greeting, who: ServerRoster, sample: Sample) -> Snapshot:
    """Return a sample as the snapshot of a fleet of this one server, without cards.

    Grants have their card share at zero, and nothing is in flight.
    """
    none = np.empty(0, dtype=np.int64)
    grant = np.zeros((SHARES, *who.shape), dtype=np.float32)
    grant[HOST] = sample.grant
    workloads = len(who.roster)
    return Snapshot(
        time_seconds=whole_seconds(sample.time_nanoseconds, "time_nanoseconds"),
        step_seconds=max(round(greeting.step_seconds), 1),
        resources=greeting.resources,
        roster=who.roster,
        places=Places(
            names=(greeting.server,),
            is_card=np.zeros(1, dtype=np.bool_),
            allocatable=greeting.allocatable[:, None],
            worth=np.ones((len(greeting.resources), 1), dtype=np.float32),
            link_server=none,
            link_card=none,
            link_bytes_per_second=np.empty(0),
        ),
        host=np.zeros(workloads, dtype=np.int32),
        card=np.full(workloads, NO_CARD, dtype=np.int32),
        used=sample.used,
        capacity=sample.capacity,
        pressed=sample.pressed,
        grant=grant,
        in_flight=np.zeros_like(grant),
    )


def checked_number(field: str, number: int) -> int:
    """Return the number of a batch, an order, a roster or an epoch, or of bytes.

    Raises:
        InvalidField: it is negative, or nothing could follow it.

    """
    if not 0 <= number <= NUMBER_MAX:
        raise InvalidField(field, f"{number} is outside 0-{NUMBER_MAX}", limit=NUMBER_MAX)
    return number
