"""Makes of looks what a snapshot is made of, and remembers what it takes: rosters, and what was asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.drivers.libvirt.bulk import Amount, sample_of
from tidegate.drivers.libvirt.frames import (
    CPU,
    MEMORY,
    NETWORK,
    RESOURCES,
    STORAGE,
    Behaviour,
    Frames,
    behaviour_of,
    frames_of,
    fresh,
    roster_of,
    sold_and_held,
)
from tidegate.drivers.libvirt.settings import DISK, PLUGGED, QUOTA, TAP, VCPUS
from tidegate.drivers.libvirt.settings import MEMORY as MEMORY_SETTING
from tidegate.model.roster import HOST, Places, Roster, realigned, source_rows
from tidegate.model.snapshot import VIOLATION_TOLERANCE_RATIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.drivers.libvirt.bulk import Sample
    from tidegate.drivers.libvirt.described import Described
    from tidegate.drivers.libvirt.ledger import Entry, Ledger
    from tidegate.drivers.libvirt.looking import Look
    from tidegate.drivers.libvirt.runner import Wish

NOTHING: Final = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """One look, as a snapshot wants it."""

    uuids: tuple[str, ...]
    roster: Roster
    places: Places
    frames: Frames
    behaviour: Behaviour | None
    settable: NDArray[np.bool_]
    """(resources, workloads): what this hypervisor and each policy let be changed."""

    def row_of(self, workload_id: int) -> int | None:
        """Return where a workload stands; None where it is gone."""
        at = np.flatnonzero(self.roster.ids == workload_id)
        return int(at[0]) if at.size else None

    def held(self, workload_id: int, row: int) -> float:
        """Return what a workload holds; NaN where it is gone."""
        at = self.row_of(workload_id)
        return math.nan if at is None else float(self.frames.grant[HOST, row, at])


class Seer:
    """Turns looks into what was seen."""

    def __init__(self, ledger: Ledger | None, *, name: str, violation_rate: float) -> None:
        """See for a server of that name; without a ledger every setting is the owner's."""
        self._ledger = ledger
        self._violation_rate = violation_rate
        self._roster: Roster | None = None
        self.places = Places(
            names=(name,),
            is_card=np.zeros(1, dtype=np.bool_),
            # Quotas and balloons share a machine, they don't divide it: VMs may be sold more than there is.
            allocatable=np.full((len(RESOURCES), 1), np.inf),
            worth=np.ones((len(RESOURCES), 1), dtype=np.float32),
            link_server=NOTHING,
            link_card=NOTHING,
            link_bytes_per_second=np.empty(0),
        )
        self._ids, self._memory, self._moved_seconds = NOTHING, np.empty(0), np.empty(0)
        self._asked: dict[tuple[int, int], tuple[float, float]] = {}
        """By workload and row: what was held when an amount was asked for, and that amount."""

    def see(self, look: Look, per_second: NDArray[np.float64], time_seconds: int) -> Seen:
        """Return what a look shows, with rates since the one before."""
        sample = look.sample
        noted = self._noted(look)
        owned = owned_of(look, noted)
        sold, held = sold_and_held(sample, look.described, owned)
        held = with_taps(held, noted)
        sold = np.where(np.isinf(sold) & np.isfinite(held), np.inf, sold)
        period = max((one.balloon_period_seconds for one in look.described), default=1)
        lately = fresh(sample, time_seconds, period)
        told = lately & self._told_since_moved(sample, time_seconds)
        frames = frames_of(sample, per_second, told=told, sold=sold, held=held)
        self._speak_as_asked(sample.ids, frames)
        roster = self._roster_of(sample, look.described, sold)
        return Seen(
            uuids=sample.uuids,
            roster=roster,
            places=self.places,
            frames=frames,
            behaviour=behaviour_of(sample, per_second, roster, time_seconds),
            settable=_settable(look.described, lately) & np.isfinite(frames.capacity),
        )

    def took(self, wish: Wish, seen: Seen) -> None:
        """Speak of what a workload holds as of what was asked, while it stays where it is now.

        Quotas have whole microseconds and balloons whole pages: the difference is no change to act upon.
        """
        at = seen.row_of(wish.workload_id)
        if at is None:
            return
        held = float(seen.frames.grant[HOST, wish.row, at])
        if abs(held - wish.amount) <= VIOLATION_TOLERANCE_RATIO * wish.sold:
            self._asked[wish.workload_id, wish.row] = held, wish.amount
            seen.frames.grant[HOST, wish.row, at] = wish.amount

    def _told_since_moved(self, sample: Sample, time_seconds: int) -> NDArray[np.bool_]:
        """Whether each guest has told of its memory since that last changed: before, the two don't match."""
        memory, updated = sample.amounts[Amount.MEMORY_BYTES], sample.amounts[Amount.UPDATED_SECONDS]
        rows = source_rows(self._ids, sample.ids)
        moved = realigned(self._memory, rows, np.nan) != memory
        since = np.where(moved & (rows >= 0), time_seconds, realigned(self._moved_seconds, rows, -np.inf))
        self._ids, self._memory, self._moved_seconds = sample.ids, memory, since
        return ~(updated <= since)

    def _speak_as_asked(self, ids: NDArray[np.int64], frames: Frames) -> None:
        """Replace what is held by what was asked where it is that, as near as there is."""
        rows = {int(identity): at for at, identity in enumerate(ids)} if self._asked else {}
        for (identity, row), (held, amount) in list(self._asked.items()):
            at = rows.get(identity)
            if at is None or frames.grant[HOST, row, at] != np.float32(held):
                del self._asked[identity, row]
            else:
                frames.grant[HOST, row, at] = amount

    def _noted(self, look: Look) -> dict[int, Mapping[str, Entry]]:
        """Return what is noted in the ledger, by row of the domain."""
        if self._ledger is None:
            return {}
        changed = self._ledger.domains()
        return {
            at: self._ledger.noted(uuid, int(look.sample.instance[at]))
            for at, uuid in enumerate(look.sample.uuids)
            if uuid in changed
        }

    def _roster_of(self, sample: Sample, described: Sequence[Described], sold: NDArray[np.float64]) -> Roster:
        """Return the same roster as long as nobody came, went, was renamed, or was agreed with anew."""
        roster = roster_of(sample, [one.policy for one in described], sold, self._violation_rate)
        if self._roster is None or not _same(self._roster, roster):
            self._roster = roster
        return self._roster


def blind(seen: Seen | None, seer: Seer) -> Seen:
    """Return the last look as it stands when nothing is known any more: what is held, and nobody's use."""
    if seen is None:
        empty = sample_of([], 0.0)
        none = np.empty((len(RESOURCES), 0))
        return Seen(
            uuids=(),
            roster=roster_of(empty, [], none, 0.01),
            places=seer.places,
            frames=frames_of(
                empty,
                np.empty((empty.totals.shape[0], 0)),
                told=np.empty(0, dtype=np.bool_),
                sold=none,
                held=none,
            ),
            behaviour=None,
            settable=np.zeros(none.shape, dtype=np.bool_),
        )
    frames = replace(
        seen.frames,
        used=np.full_like(seen.frames.used, np.nan),
        pressed=np.zeros_like(seen.frames.pressed),
        grant=seen.frames.grant.copy(),
    )
    return replace(seen, frames=frames)


def owned_of(look: Look, noted: Mapping[int, Mapping[str, Entry]]) -> NDArray[np.float64]:
    """Return what owners' settings allow, (resources, domains): what is set, but where we changed it."""
    amounts, described = look.sample.amounts, look.described
    vcpus = np.where(np.isnan(amounts[Amount.VCPUS]), [one.vcpus for one in described], amounts[Amount.VCPUS])
    plugged = _column(sum(device.bytes_now for device in one.plugged) for one in described)
    balloon = amounts[Amount.MEMORY_BYTES] - plugged
    quota = _column(one.quota_microseconds for one in described)
    network = _column(one.network_bytes_per_second for one in described)
    storage = _column(one.disk_bytes_per_second for one in described)
    for at, settings in noted.items():
        vcpus[at] = _owners(settings, VCPUS, vcpus[at])
        balloon[at] = 1024 * _owners(settings, MEMORY_SETTING, balloon[at] / 1024)
        quota[at] = _owners(settings, QUOTA, quota[at])
        plugged[at] = 1024 * sum(
            _owners(settings, f"{PLUGGED}:{device.alias}", device.bytes_now / 1024)
            for device in described[at].plugged
        )
        for rate, kind in ((network, TAP), (storage, DISK)):
            owners = [entry.original for name, entry in settings.items() if name.startswith(kind)]
            if owners:
                rate[at] = sum(owners) if all(owners) else np.inf
    period = _column(one.period_microseconds for one in described)
    cores = np.where(quota > 0, np.fmin(quota / period, 1.0), 1.0) * vcpus
    return np.stack([cores, balloon + plugged, network, storage]).reshape(len(RESOURCES), len(described))


def _owners(settings: Mapping[str, Entry], name: str, current: float) -> float:
    """Return what the owner had set, of a setting that now is ``current``."""
    entry = settings.get(name)
    if entry is None or math.isnan(current) or not entry.is_ours(name, round(current)):
        return current
    return float(entry.original)


def _column(values: Iterable[float]) -> NDArray[np.float64]:
    return np.array(list(values), dtype=np.float64)


def with_taps(held: NDArray[np.float64], noted: Mapping[int, Mapping[str, Entry]]) -> NDArray[np.float64]:
    """Return what is held with what we set on taps: that is the kernel's, not in libvirt's XML."""
    for at, settings in noted.items():
        ours = [entry.ours[-1] for name, entry in settings.items() if name.startswith(TAP)]
        if ours and all(ours):
            held[NETWORK, at] = float(sum(ours))
    return held


def _settable(described: Sequence[Described], told: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what can be set where nothing else stands in the way, (resources, domains)."""
    settable = np.zeros((len(RESOURCES), len(described)), dtype=np.bool_)
    settable[CPU] = [one.has_quota for one in described]
    settable[MEMORY] = told & np.array([one.has_balloon for one in described], dtype=np.bool_)
    settable[NETWORK] = [bool(one.taps) for one in described]
    settable[STORAGE] = [bool(one.disks) for one in described]
    return settable & np.array([one.policy.act for one in described], dtype=np.bool_)


def _same(one: Roster, other: Roster) -> bool:
    return (
        np.array_equal(one.ids, other.ids)
        and tuple(one.names) == tuple(other.names)
        and np.array_equal(one.floor, other.floor, equal_nan=True)
        and np.array_equal(one.violation_rate, other.violation_rate)
        and np.array_equal(one.priority, other.priority)
    )
