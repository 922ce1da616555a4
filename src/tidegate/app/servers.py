"""Which driver reads and resizes a server, by the name people type: local, libvirt, or libvirt=URI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate.drivers.libvirt.ledger import LEDGER_PATH
from tidegate.drivers.libvirt.server import URI, LibvirtServer
from tidegate.drivers.local.clock import SystemClock
from tidegate.drivers.local.server import LocalServer
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LOCAL: Final = "local"
LIBVIRT: Final = "libvirt"
LEDGER_FILE: Final = "limits.ledger"
"""Of the local driver, beside what its agent remembers."""


def libvirt_uri(driver: str) -> str | None:
    """Return the address of libvirt that a driver's name stands for; None for the local driver.

    Raises:
        InputError: nobody goes by that name.

    """
    name, _, uri = driver.partition("=")
    if name not in {LOCAL, LIBVIRT} or (name == LOCAL and "=" in driver):
        raise InputError(f"unknown driver '{driver}'; choose local, libvirt or libvirt=URI")
    return None if name == LOCAL else uri or URI


def opened_server(
    driver: str,
    *,
    name: str,
    folder: Path,
    step_seconds: int,
    chosen: Sequence[str],
    act: Sequence[str],
    violation_rate: float,
    ledger_path: Path | None = None,
) -> LocalServer | LibvirtServer:
    """Return a server read by the driver of that name; to be closed.

    ``ledger_path`` is where the local driver notes the owner's settings, in the folder by default.

    Where libvirt's VMs may be resized, their owners' settings are noted at one place for the whole machine:
    a hypervisor has one writer.

    Raises:
        InputError: nobody goes by that name, or it can't be used here.
        TidegateError: libvirt does not answer, or what an earlier process changed can't be put back.

    """
    uri = libvirt_uri(driver)
    if uri is None:
        return LocalServer(
            step_seconds=step_seconds,
            chosen=chosen,
            act=act,
            violation_rate=violation_rate,
            ledger_path=folder / LEDGER_FILE if ledger_path is None else ledger_path,
        )
    return LibvirtServer(
        uri,
        step_seconds=step_seconds,
        clock=SystemClock(),
        chosen=chosen,
        act=act,
        violation_rate=violation_rate,
        ledger_path=LEDGER_PATH,
        name=name,
    )
