"""Changes domains: what may be changed, how, and how it all goes back to its owners."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tidegate.drivers.libvirt.binding import GONE_CODE, code_of
from tidegate.drivers.libvirt.cores import can_plug, set_cores, set_priority
from tidegate.drivers.libvirt.described import described
from tidegate.drivers.libvirt.frames import CPU, MEMORY, NETWORK, STORAGE
from tidegate.drivers.libvirt.hand import Hand, Unwilling
from tidegate.drivers.libvirt.memory import set_memory, wait_for_event
from tidegate.drivers.libvirt.settings import MEMORY as MEMORY_SETTING
from tidegate.drivers.libvirt.settings import QUOTA, VCPUS, Settings
from tidegate.drivers.libvirt.throughput import set_network, set_storage
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.outcome import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.drivers.libvirt.connection import Connection
    from tidegate.drivers.libvirt.ledger import Ledger
    from tidegate.drivers.libvirt.runner import Wish

SET: Final = {CPU: set_cores, MEMORY: set_memory, NETWORK: set_network, STORAGE: set_storage}
"""By row of the resource."""
LAST: Final = (QUOTA, VCPUS)
"""Put back in this order and after all else: vCPUs go under a quota that is the owner's already."""
RESTORE_SECONDS_MAX: Final = 15.0
"""How long a balloon or a vCPU may take to be as its owner had it."""
POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What became of the settings that had been changed: ``name: setting``, each in one of these."""

    restored: tuple[str, ...] = ()
    """Hold the owner's value again, or never lost it."""
    left: tuple[str, ...] = ()
    """Were changed by somebody else since, and stay as they are."""
    gone: tuple[str, ...] = ()
    """Their domain was stopped or started anew: its settings are its owner's."""
    refused: tuple[str, ...] = ()
    """Can't be put back now; they stay noted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """Carries out wishes, one domain at a time; everything here blocks."""

    connection: Connection
    ledger: Ledger
    unwilling: Unwilling
    step_seconds: float
    monotonic_seconds: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def carry_out(self, wish: Wish, is_replaced: Callable[[], bool]) -> Phase:
        """Do what is wished as far as may be; what failed counts as refused, and reading back tells more."""
        try:
            hand = self._hand(wish.uuid, is_replaced)
            if not hand.described.policy.act:
                return Phase.REFUSED
            if wish.row == CPU:
                set_priority(hand)
            phase = SET[wish.row](hand, wish)
        except (TidegateError, ValueError):
            return Phase.REFUSED
        except Exception as error:
            if code_of(error) < 0:
                raise
            self.connection.failed(error)
            return Phase.REFUSED
        finally:
            self.connection.note(wish.uuid)
        return phase

    def restore(self, uuid: str) -> Released:
        """Put a domain's settings back as its owner had them.

        Raises:
            AwayError: the daemon can't be reached.

        """
        noted_as = self.ledger.domains().get(uuid, uuid)
        try:
            hand = self._hand(uuid, _never)
        except Exception as error:
            if code_of(error) != GONE_CODE:
                raise
            self.ledger.drop(uuid)
            return Released(gone=(f"{noted_as}: all",))
        noted = self.ledger.noted(uuid, hand.instance)
        if not noted:
            self.ledger.drop(uuid)
            return Released(gone=(f"{noted_as}: all",))
        fates: dict[str, list[str]] = {"restored": [], "left": [], "refused": []}
        for setting in sorted(noted, key=lambda name: LAST.index(name) if name in LAST else -1):
            fates[self._put_back(hand, setting)].append(f"{hand.name}: {setting}")
        if not fates["refused"]:
            self.ledger.drop(uuid)
        self.connection.note(uuid)
        return Released(**{fate: tuple(names) for fate, names in fates.items()})

    def restore_all(self, name: str | None = None) -> Released:
        """Put back the settings of all domains noted, or of the one of that name or UUID.

        Raises:
            AwayError: the daemon can't be reached.
            InputError: nothing is noted of a domain of that name.

        """
        domains = self.ledger.domains()
        if name is not None:
            domains = {uuid: known for uuid, known in domains.items() if name in {uuid, known}}
            if not domains:
                raise InputError(f"nothing of a VM '{name}' is noted as changed")
        found = [self.restore(uuid) for uuid in domains]
        return Released(
            restored=tuple(one for released in found for one in released.restored),
            left=tuple(one for released in found for one in released.left),
            gone=tuple(one for released in found for one in released.gone),
            refused=tuple(one for released in found for one in released.refused),
        )

    def _put_back(self, hand: Hand, setting: str) -> str:
        entry = self.ledger.noted(hand.uuid, hand.instance)[setting]
        try:
            current = hand.settings.read(setting)
            if current is None:
                return "restored"  # the device is gone, and its setting with it
            if current == entry.original:
                return "restored"
            if not entry.is_ours(setting, current):
                return "left"
            self._write_back(hand, setting, entry.original)
        except (TidegateError, ValueError):
            return "refused"
        return "restored" if self._is_back(hand, setting, entry.original) else "refused"

    def _write_back(self, hand: Hand, setting: str, value: int) -> None:
        if setting == VCPUS:
            if value > (hand.settings.read(VCPUS) or 0) and not can_plug(hand):
                return
            hand.ledger.note_unplug(hand.uuid, hand.instance)
        try:
            hand.settings.write(setting, value)
        except Exception as error:
            # A vCPU on its way out, for one, is told as an error: reading back tells.
            if code_of(error) < 0 or self.connection.failed(error):
                raise

    def _is_back(self, hand: Hand, setting: str, value: int) -> bool:
        """Wait until a setting is what it was; a balloon that is let out counts: the guest does the rest."""
        deadline = self.monotonic_seconds() + RESTORE_SECONDS_MAX
        while hand.settings.read(setting) != value:
            if self.monotonic_seconds() > deadline:
                return setting == MEMORY_SETTING
            self.sleep(POLL_SECONDS)
            if setting == VCPUS:
                self._write_back(hand, setting, value)  # each time lets one go
        if setting == MEMORY_SETTING:
            wait_for_event(hand)
        return True

    def _hand(self, uuid: str, is_replaced: Callable[[], bool]) -> Hand:
        connection = self.connection.get()
        domain: Any = connection.lookupByUUIDString(uuid)
        return Hand(
            uuid=uuid,
            name=domain.name(),
            instance=domain.ID(),
            settings=Settings(domain=domain),
            described=described(domain.XMLDesc(0)),
            ledger=self.ledger,
            unwilling=self.unwilling,
            is_replaced=is_replaced,
            monotonic_seconds=self.monotonic_seconds,
            sleep=self.sleep,
            step_seconds=self.step_seconds,
            tells_time=connection.getType() != "TEST",
        )


def _never() -> bool:
    return False
