"""A domain's CPU: a quota that holds at once, and vCPUs that come quickly and go slowly.

A quota is each vCPU's, so cores are shared out over those there are. vCPUs follow only where the owner's
policy says ``plug``: up first, so that the quota finds them; down last, under a quota that holds already.
Unplugging times out in libvirt while the guest still works at it: it is asked again, and what counts is how
many vCPUs there are.

An emulated QEMU (TCG) ends with its guest when a vCPU is plugged after one was unplugged: it has as many
translation contexts as it may have vCPUs, and none is given back (tcg_register_thread). So there the first
unplug is the end of plugging.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from tidegate.drivers.libvirt.binding import GONE_CODE, code_of, is_lost
from tidegate.drivers.libvirt.settings import QUOTA, SHARES, UNLIMITED, VCPUS
from tidegate.model.outcome import Phase

if TYPE_CHECKING:
    from tidegate.drivers.libvirt.hand import Hand
    from tidegate.drivers.libvirt.runner import Wish

QUOTA_MICROSECONDS_MIN: Final = 1000
"""The least that libvirt and the kernel take."""
UNPLUG_TRIES_MAX: Final = 3
"""How often a guest is asked that lets none go; each time that brings one, counting starts anew."""
PLUG_SECONDS_MAX: Final = 3.0
"""How long a vCPU may take to be there after the call."""
POLL_SECONDS: Final = 0.1
WHOLE_RATIO: Final = 1e-6
"""Amounts of single precision that differ by less are the same."""


def set_cores(hand: Hand, wish: Wish) -> Phase:
    """Give a domain so many cores."""
    vcpus = hand.settings.read(VCPUS)
    if vcpus is None:
        return Phase.REFUSED
    if hand.described.policy.plug:
        _plug(hand, wish, vcpus)
        vcpus = hand.settings.read(VCPUS) or vcpus
    phase = _throttle(hand, wish, vcpus)
    needed = _needed(hand, wish, vcpus)
    if hand.described.policy.plug and needed < vcpus and phase is Phase.APPLIED:
        fewer = _unplug(hand, needed)
        if fewer != vcpus:
            phase = _throttle(hand, wish, fewer)
    return phase


def set_priority(hand: Hand) -> None:
    """Weigh a domain against its neighbours as its policy says: twice as much for each class above 1."""
    shares = hand.settings.read(SHARES)
    if shares is not None:
        wanted = hand.owner(SHARES, shares) * 2 ** (hand.described.policy.priority - 1)
        hand.change(SHARES, wanted)


def can_plug(hand: Hand) -> bool:
    """Whether a vCPU may be plugged without ending an emulated QEMU."""
    return not (hand.described.is_emulated and hand.ledger.was_unplugged(hand.uuid, hand.instance))


def _needed(hand: Hand, wish: Wish, vcpus: int) -> int:
    """Return how many vCPUs the cores need: never fewer than the owner had."""
    least = hand.owner(VCPUS, vcpus)
    cores = math.ceil(wish.amount * (1 - WHOLE_RATIO))
    return min(max(cores, least), hand.described.vcpus_max)


def _throttle(hand: Hand, wish: Wish, vcpus: int) -> Phase:
    """Set the quota of each vCPU and read it back."""
    current = hand.settings.read(QUOTA)
    if current is None:
        return Phase.REFUSED
    owner = hand.owner(QUOTA, current)
    period = hand.described.period_microseconds
    quota = max(round(wish.amount / vcpus * period), QUOTA_MICROSECONDS_MIN)
    is_short = wish.amount > vcpus * (1 + WHOLE_RATIO)
    if wish.amount >= min(vcpus, wish.sold) * (1 - WHOLE_RATIO) or (owner > 0 and quota > owner):
        quota = owner if owner > 0 else UNLIMITED
    if hand.change(QUOTA, quota) != quota:
        return Phase.TIMED_OUT
    is_smallest = wish.amount / vcpus * period < QUOTA_MICROSECONDS_MIN * (1 - WHOLE_RATIO)
    return Phase.PARTIAL if is_short or is_smallest else Phase.APPLIED


def _plug(hand: Hand, wish: Wish, vcpus: int) -> None:
    """Bring up as many vCPUs as the cores need."""
    needed = _needed(hand, wish, vcpus)
    if needed <= vcpus or not can_plug(hand) or hand.unwilling.has(hand.uuid, VCPUS):
        return
    if _asked(hand, needed) < needed:
        hand.unwilling.remember(hand.uuid, VCPUS)


def _unplug(hand: Hand, needed: int) -> int:
    """Take vCPUs away, asking again while the guest works at it; return how many there are."""
    vcpus = hand.settings.read(VCPUS) or needed
    if hand.unwilling.has(hand.uuid, VCPUS):
        return vcpus
    hand.ledger.note_unplug(hand.uuid, hand.instance)
    tries = 0
    while vcpus > needed and tries < UNPLUG_TRIES_MAX and not hand.is_replaced():
        before, vcpus = vcpus, _asked(hand, needed)
        tries = tries + 1 if vcpus == before else 0
    if tries == UNPLUG_TRIES_MAX:
        hand.unwilling.remember(hand.uuid, VCPUS)
    return vcpus


def _asked(hand: Hand, vcpus: int) -> int:
    """Ask for so many vCPUs, and return how many there are: libvirt itself waits for those that go."""
    is_more = vcpus > (hand.settings.read(VCPUS) or 0)
    try:
        hand.change(VCPUS, vcpus)
    except Exception as error:
        # A guest that is not ready, or takes longer than libvirt waits, is no error: reading back tells.
        if code_of(error) in {-1, GONE_CODE} or is_lost(error):
            raise
    deadline = hand.monotonic_seconds() + (PLUG_SECONDS_MAX if is_more else 0)
    while (found := hand.settings.read(VCPUS) or 0) != vcpus and hand.monotonic_seconds() < deadline:
        hand.sleep(POLL_SECONDS)
    return found
