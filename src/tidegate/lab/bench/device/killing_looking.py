"""What is there, as the kernel has it, against what stores, devices and the fleet manager say of it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tidegate.drivers.card.caps import Caps
from tidegate.drivers.card.groups import Groups
from tidegate.drivers.cgroups.hierarchy import find_hierarchy
from tidegate.drivers.local.clock import SystemClock
from tidegate.lab.bench.device.killing_stores import in_flight, json_of, ledger_of, rows_of, stored
from tidegate.lab.bench.device.killing_traffic import serves
from tidegate.lab.bench.device.killing_world import AGENT, CARDS, FLEET
from tidegate.model.errors import TidegateError
from tidegate.wire.card.v1 import application_pb2, application_pb2_grpc, card_pb2, card_pb2_grpc
from tidegate.wire.dialing import dialled
from tidegate.wire.identities import Identity, Role
from tidegate.wire.names import ApplicationName, application_of, card_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tidegate.lab.bench.device.killing_traffic import Client
    from tidegate.lab.bench.device.killing_world import World
    from tidegate.model.application import Amounts
    from tidegate.wire.dialing import Line

RUNNING: Final = application_pb2.APPLICATION_STATE_RUNNING
STOPPED: Final = application_pb2.APPLICATION_STATE_STOPPED
PLACEMENT: Final = ("SELECT name, record FROM placed", "SELECT name, record FROM moving")
CORES_STEP: Final = 0.002
"""Cores are told in thousandths."""
CALL_SECONDS: Final = 3.0
ROOT: Final = Path("/")
CGROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(slots=True, kw_only=True)
class Expected:
    """What must be there: by application whether it runs, and who wrote to it."""

    runs: dict[str, bool] = field(default_factory=dict)
    clients: dict[str, Client] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    """The highest ever seen, also of those that are gone."""
    drained: str = ""
    """The card that nothing may run on."""


@dataclass(slots=True, kw_only=True)
class Sight:
    """What was seen at one look."""

    faults: list[str] = field(default_factory=list)
    """What does not agree; it may yet."""
    never: list[str] = field(default_factory=list)
    """What must not be, not for a moment."""
    where: dict[str, str] = field(default_factory=dict)
    """On which card's device each application is."""


async def look(world: World, expected: Expected) -> Sight:
    """Look at everything once."""
    sight = Sight()
    told = dict(zip(CARDS, await asyncio.gather(*(_told(world, letter) for letter in CARDS)), strict=True))
    rooms: dict[str, Mapping[str, Any]] = {}
    for letter, (card, applications) in told.items():
        if card is None:
            sight.faults.append(f"device {letter} does not answer")
            continue
        rooms[letter] = applications
        _compare_card(sight, world, letter, card, applications)
        for name, one in applications.items():
            expected.epochs[name] = max(expected.epochs.get(name, 0), one.status.epoch)
    if len(rooms) == len(CARDS):
        _compare_placement(sight, world, expected, rooms)
        _compare_processes(sight, world)
    await _compare_fleet(sight, world, expected)
    _compare_server(sight, world)
    await _compare_service(sight, world, expected)
    return sight


async def _told(
    world: World, letter: str
) -> tuple[card_pb2.Card | None, dict[str, application_pb2.Application]]:
    """Return what a device says of itself and its applications; nothing where it does not answer."""
    parent = card_name(world.card(letter))
    listed = await _listed(world, letter, Identity(Role.DEVICE, world.card(letter)), parent)
    if listed is None:
        return None, {}
    try:
        async with _line(world, letter, Identity(Role.DEVICE, world.card(letter))) as line:
            request = card_pb2.GetCardRequest(name=parent)
            with line.answers():
                card = (await card_pb2_grpc.CardServiceStub(line).GetCard(request)).card
    except (TidegateError, TimeoutError):
        return None, {}
    return card, {application_of(one.name).application: one for one in listed}


async def _listed(
    world: World, program: str, expects: Role | Identity, parent: str
) -> list[application_pb2.Application] | None:
    """Return the applications that a program tells of; None where it does not answer."""
    try:
        async with _line(world, program, expects) as line:
            request = application_pb2.ListApplicationsRequest(parent=parent)
            with line.answers():
                answer = await application_pb2_grpc.ApplicationServiceStub(line).ListApplications(request)
            return list(answer.applications)
    except (TidegateError, TimeoutError):
        return None


@contextlib.asynccontextmanager
async def _line(world: World, program: str, expects: Role | Identity) -> AsyncIterator[Line]:
    async with (
        asyncio.timeout(CALL_SECONDS),
        dialled(
            world.address(program), expects=expects, clock=SystemClock(), certificates=world.certificates
        ) as line,
    ):
        yield line


# --- A card ---------------------------------------------------------------------------------------


def _compare_card(
    sight: Sight,
    world: World,
    letter: str,
    card: card_pb2.Card,
    told: Mapping[str, application_pb2.Application],
) -> None:
    """Compare what a device says with its store, and both with the kernel."""
    groups = Groups(find_hierarchy(ROOT), world.card(letter))
    kept = stored(world, letter)
    if kept is None:
        sight.faults.append(f"the store of {letter} can't be read")
        return
    applications, going, _ = kept
    faults = sight.faults
    faults += [f"{letter}: migration {one} has not ended" for one in going]
    if applications.keys() != told.keys():
        faults.append(f"{letter}: the store has {sorted(applications)}, the device says {sorted(told)}")
    here = {name: groups.members(name) for name in groups.names()}
    for name in sorted(here.keys() | told.keys()):
        runs = name in told and told[name].status.state == RUNNING
        if runs != bool(here.get(name)):
            says = "no application" if name not in told else f"state {told[name].status.state}"
            faults.append(f"{letter}: {name} has processes {here.get(name)}, and the device says {says}")
        elif runs and name in applications:
            held = Caps(hierarchy=groups.hierarchy).held(groups.path(name))
            faults += [
                f"{letter}/{name}: {each}" for each in _held_faults(held, told[name], applications[name])
            ]
            record = json_of(world.runtime(letter) / "records" / f"{name}.json")
            if record.get("epoch") != told[name].status.epoch or record.get("standby"):
                faults.append(
                    f"{letter}/{name}: epoch {told[name].status.epoch}, but its program's is {record}"
                )
    faults += [
        f"{letter}: of adjustment {one} is not known what came of it" for one in in_flight(world, letter)
    ]
    faults += [f"{letter}: {one} is left over" for one in _left_over(world, letter, told)]
    _compare_room(sight, letter, card, applications)


def _held_faults(
    held: Amounts, told: application_pb2.Application, stored_one: Mapping[str, Any]
) -> list[str]:
    """Return where the kernel, the device and its store do not say the same."""
    cores, memory = held.cpu_cores, held.memory_bytes
    said, kept, wanted = told.status.held, stored_one["held"], stored_one["amounts"]
    faults = []
    if cores is None or abs(cores - said.cpu_millis / 1000) > CORES_STEP:
        faults.append(f"the kernel limits to {cores} cores, the device says {said.cpu_millis} thousandths")
    if memory is None or memory != said.memory_bytes:
        faults.append(f"the kernel limits to {memory} bytes, the device says {said.memory_bytes}")
    if cores is not None and abs((kept["cpu_cores"] or 0.0) - cores) > CORES_STEP:
        faults.append(f"the kernel limits to {cores} cores, the store says {kept['cpu_cores']}")
    if memory is not None and kept["memory_bytes"] != memory:
        faults.append(f"the kernel limits to {memory} bytes, the store says {kept['memory_bytes']}")
    if cores is not None and abs((wanted["cpu_cores"] or 0.0) - cores) > max(0.011, 0.011 * cores):
        faults.append(f"{wanted['cpu_cores']} cores are wanted, {cores} held")
    if stored_one.get("migration") or stored_one.get("taking") or stored_one.get("failure"):
        faults.append(f"the store has it as {stored_one}")
    return faults


def _compare_room(
    sight: Sight, letter: str, card: card_pb2.Card, applications: Mapping[str, Mapping[str, Any]]
) -> None:
    """Compare what is counted as given with what is given, and with what there is."""
    status = card.status
    held = {"cpu_cores": 0.0, "memory_bytes": 0.0}
    counted = dict(held)
    for one in applications.values():
        for resource in held:
            claims = [one[each].get(resource) or 0.0 for each in ("amounts", "held")]
            claims.append(one["spec"]["floor"].get(resource) or 0.0)
            if resource in one["temporary"]:
                claims.append(one["safe"].get(resource) or 0.0)
            held[resource] += one["held"].get(resource) or 0.0
            counted[resource] += max(claims)
    for resource, said, most in (
        ("cpu_cores", status.allocated.cpu_millis / 1000, status.allocatable.cpu_millis / 1000),
        ("memory_bytes", status.allocated.memory_bytes, status.allocatable.memory_bytes),
    ):
        slack = CORES_STEP * (len(applications) + 1) if resource == "cpu_cores" else 4096 * len(applications)
        if held[resource] > most + slack:
            sight.faults.append(f"{letter}: {held[resource]:g} {resource} are held, of {most:g}")
        if abs(counted[resource] - said) > slack:
            sight.faults.append(
                f"{letter}: {said:g} {resource} count as given, but it is {counted[resource]:g}"
            )


def _left_over(world: World, letter: str, told: Mapping[str, application_pb2.Application]) -> list[str]:
    """Return cgroups, records, sockets and states of nobody who is there."""
    alive = {name for name, one in told.items() if one.status.state == RUNNING}
    runtime = world.runtime(letter)
    groups = [
        *CGROUPS.glob(f"*/tidegate-card-{world.card(letter)}/*"),
        *CGROUPS.glob(f"tidegate-card-{world.card(letter)}/*"),
    ]
    found = [str(folder) for folder in groups if folder.is_dir() and folder.name not in alive]
    found += [str(file) for file in (runtime / "records").glob("*") if file.stem not in alive]
    found += [str(file) for file in (runtime / "records").glob(".*")]
    found += [str(file) for file in (runtime / "control").glob("*") if file.stem not in alive]
    found += [str(file) for file in (world.programs[letter].state / "handouts").glob("*")]
    records = [json_of(file) for file in (runtime / "records").glob("*.json")]
    known = {record.get("network_class", 0) for record in records}
    found += [f"network class {number}" for number in world.network_classes(letter) - known]
    return found


# --- All of them ----------------------------------------------------------------------------------


def _compare_placement(
    sight: Sight, world: World, expected: Expected, rooms: Mapping[str, Mapping[str, Any]]
) -> None:
    """Compare what must be there with what is."""
    on: dict[str, list[str]] = {}
    for letter, applications in rooms.items():
        for name in applications:
            on.setdefault(name, []).append(letter)
    for name, letters in on.items():
        if len(letters) > 1:
            sight.faults.append(f"{name} is on cards {letters}")
        if name not in expected.runs:
            sight.faults.append(f"{name} is on card {letters}, and should be on none")
    for name, runs in expected.runs.items():
        if name not in on:
            sight.faults.append(f"{name} is lost: no device knows it")
            continue
        sight.where[name] = on[name][0]
        state = rooms[on[name][0]][name].status.state
        if runs and on[name][0] == expected.drained:
            sight.faults.append(f"{name} is on {on[name]} still, which is drained")
        if state != (RUNNING if runs else STOPPED):
            sight.faults.append(f"{name} is in state {state} on {on[name]}, and should run: {runs}")


def _compare_processes(sight: Sight, world: World) -> None:
    """Look through all processes for one of ours that is in no cgroup of ours."""
    known = {
        pid
        for letter in CARDS
        for groups in [Groups(find_hierarchy(ROOT), world.card(letter))]
        for name in groups.names()
        for pid in groups.members(name)
    }
    marks = [f"TIDEGATE_CONTROL={world.runtime(letter)}/".encode() for letter in CARDS]
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) in known:
            continue
        with contextlib.suppress(OSError):
            environment = (folder / "environ").read_bytes()
            if any(mark in environment for mark in marks):
                sight.faults.append(f"process {folder.name} is an application's, and in no cgroup")


async def _compare_fleet(sight: Sight, world: World, expected: Expected) -> None:
    """Compare placement as the fleet manager tells and remembers it with where things are."""
    listed = await _listed(world, FLEET, Role.FLEET, "cards/-")
    if listed is None:
        sight.faults.append("the fleet manager does not answer")
    else:
        told = sorted(one.name for one in listed)
        real = sorted(str(ApplicationName(world.card(letter), name)) for name, letter in sight.where.items())
        if told != real:
            sight.faults.append(f"the fleet manager tells of {told}, it is {real}")
    kept = [rows_of(world, FLEET, query) for query in PLACEMENT]
    if None in kept:
        sight.faults.append("the fleet manager's store can't be read")
        return
    placed, moving = ({name: msgspec.msgpack.decode(one) for name, one in rows or ()} for rows in kept)
    sight.faults += [f"the fleet manager believes that {name} moves" for name in moving]
    letters = {world.card(letter): letter for letter in CARDS}
    believed = {name: letters.get(one["card"], "") for name, one in placed.items()}
    if believed != sight.where and len(sight.where) == len(expected.runs):
        sight.faults.append(f"the fleet manager believes {believed}, it is {sight.where}")


def _compare_server(sight: Sight, world: World) -> None:
    """Compare the agent's ledger with the limits of the server's workloads."""
    state = world.programs[AGENT].state
    if not world.runs(AGENT):
        sight.faults.append("the agent does not run")
    elif not world.has_open(AGENT, state / "limits.ledger.lock"):
        sight.faults.append("the agent has not begun")
    entries = ledger_of(state / "limits.ledger")
    for file, original in world.originals.items():
        text = Path(file).read_text().strip()
        entry = entries.get(file, {"original": original, "ours": []})
        if entry["original"].strip() != original:
            sight.faults.append(f"the ledger takes {entry['original']} for the owner's {file}: {original}")
        if text not in {original, *(each.strip() for each in entry["ours"])}:
            sight.faults.append(f"{file} is {text}, which is neither the owner's nor in the ledger")
    kept = stored(world, CARDS[0])
    epoch = json_of(state / "agent.json").get("epoch", 0)
    if kept is not None and epoch > kept[2].get("starts", 0):
        sight.faults.append(f"the agent has seen epoch {epoch}, the device is at {kept[2].get('starts')}")


async def _compare_service(sight: Sight, world: World, expected: Expected) -> None:
    """Ask every card whether it serves each application: exactly one does, of those that run."""

    async def who(name: str) -> None:
        port = expected.ports[name]
        serving = [letter for letter in CARDS if await serves(world.host(letter), port)]
        if len(serving) > 1 and await serves(world.host(serving[0]), port):
            sight.never.append(f"{name} was served by {serving} at once")
        should = [sight.where[name]] if expected.runs.get(name) and name in sight.where else []
        if name in expected.runs and serving != should:
            sight.faults.append(f"{name} is served by {serving}, and should be by {should}")

    await asyncio.gather(*(who(name) for name in sorted(expected.ports)))


__all__ = ["Expected", "Sight", "look"]
