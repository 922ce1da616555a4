"""One look at all domains: a bulk call, and the XML of those that came or changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from tidegate.drivers.libvirt.binding import binding, code_of
from tidegate.drivers.libvirt.bulk import Answer, Sample, carried, sample_of
from tidegate.drivers.libvirt.connection import AwayError
from tidegate.drivers.libvirt.described import Described, described
from tidegate.drivers.libvirt.settings import QUOTA, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tidegate.drivers.libvirt.connection import Connection

GROUPS: Final = ("STATE", "VCPU", "BALLOON", "INTERFACE")
"""What is asked of all at each look, by the names after VIR_DOMAIN_STATS_: each costs all domains time."""
DISKS_GROUP: Final = "BLOCK"
"""Costs as much as all others together (100 emulators on two cores: 188 ms of 358): disks take turns."""
DISKS_PER_LOOK: Final = 12
"""Domains whose disks are asked at one look; on hosts with as many or fewer, those of all."""
THREADS: Final = 4
"""Parts of a large host asked at once: a daemon serves five requests of one client at once by default."""
DESCRIBED_SECONDS: Final = 60.0
"""A domain's XML is read again after this long, where no event told of a change before."""
DESCRIBED_PER_LOOK: Final = 25
"""Further XML read in one look because of its age: 1 ms each."""
DOMAINS_MAX: Final = 4096
"""Domains looked at; the rest of a larger host, by name, is left out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """All domains at one moment."""

    sample: Sample
    described: tuple[Described, ...]
    """(domains,)"""


@dataclass(slots=True, kw_only=True)
class _Known:
    instance: int
    since_seconds: float
    described: Described


class Looker:
    """Looks again and again; everything here blocks, so it has a thread to itself."""

    def __init__(
        self,
        connection: Connection,
        *,
        chosen: Sequence[str],
        period_seconds: int,
        monotonic_seconds: Callable[[], float],
    ) -> None:
        """See active domains whose name a glob in ``chosen`` matches; all without any."""
        self._connection = connection
        self._chosen = tuple(chosen)
        self._period_seconds = period_seconds
        self._monotonic = monotonic_seconds
        self._known: dict[str, _Known] = {}
        self._last: Sample | None = None
        self._turn = 0
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="libvirt stats")
        self._periods: set[str] = set()
        """Domains whose statistics' period is ours."""

    def look(self) -> Look:
        """Return all domains now.

        Raises:
            AwayError: the daemon can't be reached.

        """
        connection = self._connection.get()
        libvirt = binding()
        try:
            return self._look(libvirt, connection)
        except libvirt.libvirtError as error:
            lost = self._connection.failed(error)
            raise AwayError(
                f"libvirt at {self._connection.uri} {'is gone' if lost else 'fails'}: {error}"
            ) from error

    def forget(self, uuid: str) -> None:
        """Have a domain's XML read again at the next look."""
        self._known.pop(uuid, None)

    def close(self) -> None:
        """Give back the periods of statistics that nobody had set, and ask nothing any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for uuid in self._periods:
            try:
                self._connection.get().lookupByUUIDString(uuid).setMemoryStatsPeriod(0, 1)
            except Exception as error:
                if code_of(error) < 0 and not isinstance(error, AwayError):
                    raise
        self._periods.clear()

    def _look(self, libvirt: Any, connection: Any) -> Look:  # noqa: ANN401
        found = self._asked(libvirt, connection)
        now = self._monotonic()
        for uuid in self._connection.changed():
            self.forget(uuid)
        self._age(now)
        answers, domains = [], {}
        for domain, values in found:
            uuid = domain.UUIDString()
            known = self._describe(libvirt, domain, uuid, now)
            if known is not None:
                domains[uuid] = known
                answers.append(_answer(libvirt, domain, uuid, values))
        self._known = {uuid: known for uuid, known in self._known.items() if uuid in domains}
        self._periods &= set(domains)
        self._last = sample = carried(self._last, sample_of(answers, now))
        return Look(sample=sample, described=tuple(domains[uuid] for uuid in sample.uuids))

    def _asked(self, libvirt: Any, connection: Any) -> list[tuple[Any, dict[str, object]]]:  # noqa: ANN401
        """Return all domains with their statistics: in one call, or on a large host in a few at once."""
        flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        active = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | flags
        groups, disks = _groups(libvirt, *GROUPS), _groups(libvirt, *GROUPS, DISKS_GROUP)
        if self._last is None or len(self._last.ids) <= DISKS_PER_LOOK:
            found = connection.getAllDomainStats(disks, active)
            found = [(domain, values) for domain, values in found if self._is_chosen(domain.name())]
            return sorted(found, key=_name)[:DOMAINS_MAX]
        listed = connection.getAllDomainStats(_groups(libvirt, "STATE"), active)
        domains = [domain for domain, _ in sorted(listed, key=_name) if self._is_chosen(domain.name())]
        domains = domains[:DOMAINS_MAX]
        self._turn += 1
        turns = -(-len(domains) // DISKS_PER_LOOK)
        mine = domains[self._turn % turns :: turns] if turns else []
        rest = [domain for at, domain in enumerate(domains) if turns and at % turns != self._turn % turns]
        asked = [
            self._pool.submit(connection.domainListGetStats, part, wanted, flags)
            for wanted, whole in ((disks, mine), (groups, rest))
            for part in (whole[at::THREADS] for at in range(THREADS))
            if part
        ]
        return [one for part in asked for one in part.result()]

    def _is_chosen(self, name: str) -> bool:
        return not self._chosen or any(fnmatchcase(name, glob) for glob in self._chosen)

    def _age(self, now: float) -> None:
        """Forget the oldest descriptions: what no event told of shows after a while."""
        old = [uuid for uuid, known in self._known.items() if now - known.since_seconds > DESCRIBED_SECONDS]
        old.sort(key=lambda uuid: self._known[uuid].since_seconds)
        for uuid in old[:DESCRIBED_PER_LOOK]:
            self.forget(uuid)

    def _describe(self, libvirt: Any, domain: Any, uuid: str, now: float) -> Described | None:  # noqa: ANN401
        """Return what a domain's XML says; None where it is gone by now."""
        known = self._known.get(uuid)
        if known is None or known.instance != domain.ID():
            try:
                seen = replace(described(domain.XMLDesc(0)), has_quota=_has_quota(domain))
                self._have_statistics(libvirt, domain, uuid, seen)
            except libvirt.libvirtError as error:
                if self._connection.failed(error):
                    raise
                return None
            known = self._known[uuid] = _Known(instance=domain.ID(), since_seconds=now, described=seen)
        return known.described

    def _have_statistics(self, libvirt: Any, domain: Any, uuid: str, seen: Described) -> None:  # noqa: ANN401
        """Have the guest tell of its memory where nobody asked it to: else its numbers stand still."""
        if not seen.has_balloon or seen.balloon_period_seconds:
            return
        try:
            domain.setMemoryStatsPeriod(self._period_seconds, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except libvirt.libvirtError as error:
            if self._connection.failed(error):
                raise
            return
        self._periods.add(uuid)


def _has_quota(domain: Any) -> bool:  # noqa: ANN401
    """Whether a domain's vCPUs can be throttled: libvirt must have a cgroup for it."""
    return Settings(domain=domain).read(QUOTA) is not None


def _groups(libvirt: Any, *names: str) -> int:  # noqa: ANN401
    """Return the bits of groups of statistics."""
    groups = 0
    for name in names:
        groups |= getattr(libvirt, f"VIR_DOMAIN_STATS_{name}")
    return groups


def _name(one: tuple[Any, object]) -> str:
    return str(one[0].name())


def _answer(libvirt: Any, domain: Any, uuid: str, values: dict[str, object]) -> Answer:  # noqa: ANN401
    """Return what was told of one domain; what drivers without bulk groups leave out is asked singly."""
    if "vcpu.current" not in values and "balloon.current" not in values:
        try:
            _, most, memory, vcpus, nanoseconds = domain.info()
            told = domain.memoryStats()
        except libvirt.libvirtError:
            told = {}
        else:
            values = values | {
                "balloon.maximum": most,
                "balloon.current": memory,
                "vcpu.current": vcpus,
                "cpu.time": nanoseconds,
            }
        names = ("usable", "available", "disk_caches", "swap_in", "swap_out", "major_fault", "rss")
        values = values | {f"balloon.{name}": told[name] for name in names if name in told}
    return Answer(uuid=uuid, name=domain.name(), instance=domain.ID(), values=values)
