"""A domain's disks and interfaces: rates that hold at once, shared out evenly where there are several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.drivers.libvirt.settings import DISK, TAP
from tidegate.drivers.libvirt.taps import is_policed
from tidegate.model.outcome import Phase

if TYPE_CHECKING:
    from tidegate.drivers.libvirt.hand import Hand
    from tidegate.drivers.libvirt.runner import Wish


def set_storage(hand: Hand, wish: Wish) -> Phase:
    """Give a domain's disks so many bytes a second, read and written in all."""
    return _set_rates(hand, wish, [f"{DISK}:{disk}" for disk in hand.described.disks])


def set_network(hand: Hand, wish: Wish) -> Phase:
    """Give a domain's interfaces so many bytes a second, each way."""
    taps = hand.described.taps
    phase = _set_rates(hand, wish, [f"{TAP}:{tap}" for tap in taps])
    is_whole = wish.amount >= wish.sold or all(map(is_policed, taps))
    return Phase.PARTIAL if phase is Phase.APPLIED and not is_whole else phase


def _set_rates(hand: Hand, wish: Wish, names: list[str]) -> Phase:
    """Set the rate of each device and read it back; who is granted all has the owner's settings."""
    if not names:
        return Phase.REFUSED
    share = max(int(wish.amount / len(names)), 1)
    done = 0
    for name in names:
        current = hand.settings.read(name)
        if current is None:
            continue
        owner = hand.owner(name, current)
        value = owner if wish.amount >= wish.sold or 0 < owner < share else share
        done += hand.change(name, value) == value
    if done == len(names):
        return Phase.APPLIED
    return Phase.PARTIAL if done else Phase.REFUSED
