"""Tiny guests that run: a libvirtd of their own, and a voice in each."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.drivers.libvirt.binding import binding, start_events
from tidegate.lab.bench.guests.agent import GuestAgent
from tidegate.lab.bench.guests.daemon import Daemon, started
from tidegate.lab.bench.guests.domain import GuestSpec, domain_xml
from tidegate.lab.bench.guests.image import built_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.lab.bench.guests.image import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """One that runs."""

    spec: GuestSpec
    domain: Any
    agent: GuestAgent | None
    """None of one that has no system, or was not waited for."""

    @property
    def uuid(self) -> str:
        """What it is known by wherever it is."""
        return str(self.domain.UUIDString())

    def ask(self, request: str, *, seconds: float = 20.0) -> dict[str, str]:
        """Ask the agent inside."""
        assert self.agent is not None, "a guest without a system has no agent"
        return self.agent.ask(request, seconds=seconds)


class Host:
    """A hypervisor of our own; `lent` makes one."""

    def __init__(self, daemon: Daemon, image: Image) -> None:
        """Connect to the daemon."""
        self.daemon, self.folder, self._image = daemon, daemon.folder, image
        libvirt = binding()
        start_events()
        self.connection: Any = libvirt.open(daemon.uri)
        self._paused: int = libvirt.VIR_DOMAIN_START_PAUSED
        self._guests: list[Guest] = []

    @property
    def uri(self) -> str:
        """Where libvirt listens."""
        return self.daemon.uri

    def spec(self, name: str, *, disk_bytes: int = 0, **options: Any) -> GuestSpec:  # noqa: ANN401
        """Return how a guest is made, with an empty disk of so many bytes."""
        disk = None
        if disk_bytes:
            disk = self.folder / f"{name}.disk"
            with disk.open("wb") as file:
                file.truncate(disk_bytes)
        return GuestSpec(name=name, folder=self.folder, disk=disk, **options)

    def boot(self, *specs: GuestSpec) -> list[Guest]:
        """Start guests, and wait until all answer.

        Raises:
            TidegateError: one did not boot in time.

        """
        domains = [self.connection.createXML(domain_xml(spec, self._image), 0) for spec in specs]
        guests = []
        for spec, domain in zip(specs, domains, strict=True):
            agent = GuestAgent(spec.socket) if spec.has_system else None
            guests.append(Guest(spec=spec, domain=domain, agent=agent))
            self._guests.append(guests[-1])
        for guest in guests:
            if guest.agent is not None:
                guest.agent.wait()
        return guests

    def start_paused(self, spec: GuestSpec) -> Guest:
        """Start an emulator whose guest does nothing, to have many of them."""
        domain = self.connection.createXML(domain_xml(spec, self._image), self._paused)
        return Guest(spec=spec, domain=domain, agent=None)

    def reconnect(self) -> None:
        """Connect again after the daemon was restarted."""
        self.connection = binding().open(self.daemon.uri)

    def close(self) -> None:
        """End the guests by libvirt, which removes their control groups, and hang up everywhere."""
        for guest in self._guests:
            if guest.agent is not None:
                guest.agent.close()
        with contextlib.suppress(binding().libvirtError):
            for domain in self.connection.listAllDomains():
                domain.destroy()
        with contextlib.suppress(binding().libvirtError):
            self.connection.close()


@contextlib.contextmanager
def lent(*, namespace: str = "") -> Iterator[Host]:
    """Lend a hypervisor of our own, whose guests end with it.

    Raises:
        InputError: it can't be had here; the sentence says why, and how to get it.

    """
    image = built_image()
    binding()
    with (
        tempfile.TemporaryDirectory(prefix="tg-") as folder,
        started(Path(folder), namespace=namespace) as daemon,
    ):
        host = Host(daemon, image)
        try:
            yield host
        finally:
            host.close()
