"""Two hypervisors on one machine, and a tiny guest that goes from one to the other and back."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from tidegate.drivers.libvirt.binding import binding
from tidegate.drivers.libvirt.moving.daemons import DaemonWay
from tidegate.drivers.libvirt.moving.mover import Mover
from tidegate.lab.bench.guests.agent import GuestAgent
from tidegate.lab.bench.guests.running import Guest, Host, lent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tidegate.drivers.libvirt.moving.orders import MoveOrder, MoveRecord
    from tidegate.lab.bench.guests.domain import GuestSpec

ELSEWHERE: Final = "b"
"""What is put after names at the second host: both share the machine's taps and control groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two hosts that see the same disks; `lent_pair` makes them."""

    first: Host
    second: Host

    def other(self, host: Host) -> Host:
        """Return the host that a guest at one of them goes to."""
        return self.second if host is self.first else self.first

    def way(self, guest: Guest, host: Host) -> DaemonWay:
        """Return the way of a guest from one host to the other; to be closed."""
        there = self.other(host)
        spec = self.moved_spec(guest.spec, there)
        return DaemonWay(
            name=guest.spec.name,
            source=host.uri,
            target=there.uri,
            uri=f"unix://{self.channel(there)}",
            target_xml=moved_xml(guest, spec),
            target_name=spec.name,
        )

    def channel(self, there: Host) -> Path:
        """Return the socket through which memory goes to a host."""
        return there.folder / "move.sock"

    def moved_spec(self, spec: GuestSpec, there: Host) -> GuestSpec:
        """Return how a guest is made at the other host: other names, as two machines would not need."""
        name, tap = (one.removesuffix(ELSEWHERE) for one in (spec.name, spec.tap))
        after = ELSEWHERE if there is self.second else ""
        return replace(spec, folder=there.folder, name=name + after, tap=tap + after if tap else "")

    def move(
        self, guest: Guest, host: Host, order: MoveOrder, *, is_stopped: Callable[[], bool] = lambda: False
    ) -> tuple[MoveRecord, Guest]:
        """Move a guest from one host to the other; return what came of it, and the guest where it is then."""
        way = self.way(guest, host)
        try:
            mover = Mover(folder=self.first.folder / "moves", is_stopped=is_stopped)
            record = mover.move(way, order)
        finally:
            way.close()
        there = self.other(host)
        if record.phase.value != "succeeded":
            return record, guest
        return record, self.found(guest, there)

    def end(self, guest: Guest) -> None:
        """End a guest, wherever it is."""
        if guest.agent is not None:
            guest.agent.close()
        for host in (self.first, self.second):
            for domain in host.connection.listAllDomains():
                if domain.UUIDString() == guest.uuid:
                    domain.destroy()

    def found(self, guest: Guest, there: Host) -> Guest:
        """Return a guest that has come to a host, its agent connected anew."""
        if guest.agent is not None:
            guest.agent.close()
        spec = self.moved_spec(guest.spec, there)
        agent = GuestAgent(spec.socket)
        agent.wait()
        return Guest(spec=spec, domain=there.connection.lookupByName(spec.name), agent=agent)


def moved_xml(guest: Guest, spec: GuestSpec) -> str:
    """Return a running guest's XML with the paths and the tap of another host."""
    xml: Any = guest.domain.XMLDesc(binding().VIR_DOMAIN_XML_MIGRATABLE)
    changes = [(str(mine), str(its)) for mine, its in zip(guest.spec.paths, spec.paths, strict=True)]
    for before, after in (*changes, (f"dev='{guest.spec.tap}'", f"dev='{spec.tap}'")):
        xml = xml.replace(before, after)
    return str(xml)


@contextlib.contextmanager
def lent_pair() -> Iterator[Pair]:
    """Lend two hypervisors of our own; their guests end with them.

    Raises:
        InputError: they can't be had here; the sentence says why, and how to get them.

    """
    with lent() as first, lent() as second:
        yield Pair(first=first, second=second)
