"""A domain's memory: its balloon, and what is plugged above what it booted with.

Down in steps of at most 5 % of what it was sold, each only after the guest has told how it bears the last
one; never below what it uses and a reserve. A guest that begins to swap, or is nearly full, gets back at once
what this wish had taken. These rails are those of oVirt's Memory Overcommitment Manager (balloon.rules).
A balloon's target is a request: what counts is what the balloon says. Up is one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidegate.drivers.libvirt.frames import NEARLY_FULL_RATIO
from tidegate.drivers.libvirt.settings import MEMORY, PLUGGED
from tidegate.model.outcome import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.drivers.libvirt.hand import Hand
    from tidegate.drivers.libvirt.runner import Wish

STEP_RATIO: Final = 0.05
RESERVE_RATIO: Final = 0.05
RESERVE_BYTES_MIN: Final = 32 * 2**20
"""A guest keeps this much above what it uses: it will need some while the next step is on its way."""
BALLOON_SECONDS_MAX: Final = 10.0
"""How long a balloon may take to move by a step; 0.2 to 0.35 s are usual."""
TOLD_PERIODS_MAX: Final = 3
"""A guest that told nothing new for so many steps is not asked for more."""
POLL_SECONDS: Final = 0.1
NEAR_KIB: Final = 256
"""A balloon this near to its target is there: guests work in pages, and larger ones."""
EVENT_SECONDS_MAX: Final = 2.0
"""QEMU tells of its balloon once a second at most, and bulk statistics know it from there."""
DRIFT_RATIO: Final = 0.01
"""Of what was sold: a guest that took back less than this since does hold what it was asked to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """What a guest tells of its memory, KiB."""

    actual: int
    usable: int
    swapped_out: int
    told_seconds: int

    @property
    def used(self) -> int:
        """What it could not give up."""
        return max(self.actual - self.usable, 0)

    @property
    def is_nearly_full(self) -> bool:
        """Whether it is about to swap."""
        return self.usable < NEARLY_FULL_RATIO * self.actual


def set_memory(hand: Hand, wish: Wish) -> Phase:
    """Give a domain so many bytes."""
    phase = _set(hand, wish)
    wait_for_event(hand)
    return phase


def wait_for_event(hand: Hand) -> None:
    """Wait until bulk statistics know where the balloon is, so that the next look shows what was done."""
    deadline = hand.monotonic_seconds() + EVENT_SECONDS_MAX
    while _actual(hand) != hand.domain.info()[2] and hand.monotonic_seconds() < deadline:
        hand.sleep(POLL_SECONDS)


def _set(hand: Hand, wish: Wish) -> Phase:
    target = round(min(wish.amount, wish.sold) / 1024)
    guest = asked(hand)
    if guest is None:
        return Phase.REFUSED
    if target >= guest.actual:
        return _up(hand, target, guest)
    if hand.unwilling.has(hand.uuid, MEMORY):
        return Phase.REFUSED
    return _down(hand, target, guest, round(wish.sold / 1024))


def asked(hand: Hand) -> Guest | None:
    """Return what a guest tells; None of one that tells nothing: its driver is not there."""
    told = hand.domain.memoryStats()
    if "usable" not in told or "actual" not in told:
        return None
    return Guest(
        actual=int(told["actual"]) + _plugged(hand),
        usable=int(told["usable"]),
        swapped_out=int(told.get("swap_out", 0)),
        told_seconds=int(told.get("last_update", 0)),
    )


def _up(hand: Hand, target: int, guest: Guest) -> Phase:
    """Let the balloon out, then plug what is missing."""
    _plug(hand, target)
    _moved(hand, target)
    found = asked(hand) or guest
    if abs(found.actual - target) <= NEAR_KIB:
        return Phase.APPLIED
    return Phase.PARTIAL if found.actual > guest.actual else Phase.TIMED_OUT


def _down(hand: Hand, target: int, began: Guest, sold: int) -> Phase:
    """Take memory step by step, as far as the guest bears it."""
    reserve = max(round(RESERVE_RATIO * sold), RESERVE_BYTES_MIN // 1024)
    step = max(round(STEP_RATIO * sold), 1)
    guest = began
    while guest.actual > target + NEAR_KIB and not hand.is_replaced():
        lower = max(target, guest.actual - step, guest.used + reserve)
        if lower >= guest.actual - NEAR_KIB:
            break  # the guest needs what it has
        _unplug(hand, lower)
        if not _moved(hand, lower):
            return _gave_up(hand, began)
        after = _told_anew(hand, guest)
        if after is None:
            return _gave_up(hand, began)
        if after.is_nearly_full or after.swapped_out > guest.swapped_out:
            _plug(hand, began.actual)
            _moved(hand, began.actual)
            return Phase.ROLLED_BACK
        guest = after
    if guest.actual <= target + max(NEAR_KIB, round(DRIFT_RATIO * sold)):
        return Phase.APPLIED
    return Phase.PARTIAL if guest.actual < began.actual - NEAR_KIB else Phase.REFUSED


def _gave_up(hand: Hand, began: Guest) -> Phase:
    """Ask a guest that does not follow for no more, and leave no request that it might follow later."""
    hand.unwilling.remember(hand.uuid, MEMORY)
    found = asked(hand)
    actual = began.actual if found is None else found.actual
    hand.settings.write(MEMORY, actual - _plugged(hand))
    return Phase.PARTIAL if actual < began.actual - NEAR_KIB else Phase.TIMED_OUT


def _moved(hand: Hand, target: int) -> bool:
    """Have the balloon take what the guest holds above a target, and wait; whether it is there."""
    balloon = min(target - _plugged(hand), hand.described.boot_bytes // 1024)
    hand.change(MEMORY, balloon)
    deadline = hand.monotonic_seconds() + BALLOON_SECONDS_MAX
    while abs((hand.settings.read(MEMORY) or 0) - balloon) > NEAR_KIB:
        if hand.monotonic_seconds() > deadline:
            return False
        hand.sleep(POLL_SECONDS)
    return True


def _told_anew(hand: Hand, before: Guest) -> Guest | None:
    """Wait until the guest has told how it bears what it has now; None where it tells nothing new."""
    deadline = hand.monotonic_seconds() + TOLD_PERIODS_MAX * max(hand.step_seconds, 1.0)
    hand.sleep(hand.step_seconds)
    while True:
        guest = asked(hand)
        if guest is None or not hand.tells_time or guest.told_seconds > before.told_seconds:
            return guest
        if hand.monotonic_seconds() > deadline:
            return None
        hand.sleep(POLL_SECONDS)


def _plug(hand: Hand, target: int) -> None:
    """Have devices of memory grow for what a guest is to hold above what it booted with."""
    for name, share in _shares(hand, target):
        if share > (hand.settings.read(name) or 0) and not hand.unwilling.has(hand.uuid, name):
            _until(hand, name, share)


def _unplug(hand: Hand, target: int) -> None:
    """Have devices of memory shrink as far as the guest lets them: it may stop short at any block."""
    for name, share in _shares(hand, target):
        if share < (hand.settings.read(name) or 0) and not hand.unwilling.has(hand.uuid, name):
            _until(hand, name, share)


def _shares(hand: Hand, target: int) -> Iterator[tuple[str, int]]:
    """Yield each device's setting and size in whole blocks; the balloon takes what that is too much."""
    wanted = max(target - hand.described.boot_bytes // 1024, 0)
    for device in hand.described.plugged:
        block = device.block_bytes // 1024
        share = min(-(-wanted // block) * block, device.bytes_max // 1024)
        yield f"{PLUGGED}:{device.alias}", share
        wanted = max(wanted - share, 0)


def _plugged(hand: Hand) -> int:
    """Return what is plugged now, KiB."""
    return sum(hand.settings.read(f"{PLUGGED}:{device.alias}") or 0 for device in hand.described.plugged)


def _actual(hand: Hand) -> int:
    """Return all memory of the guest, KiB: what its balloon leaves, and what is plugged."""
    return (hand.settings.read(MEMORY) or 0) + _plugged(hand)


def _until(hand: Hand, name: str, wanted: int) -> None:
    """Ask for a device's size and wait while it comes nearer."""
    hand.change(name, wanted)
    deadline = hand.monotonic_seconds() + BALLOON_SECONDS_MAX
    while hand.settings.read(name) != wanted:
        if hand.monotonic_seconds() > deadline:
            hand.unwilling.remember(hand.uuid, name)
            return
        hand.sleep(POLL_SECONDS)
