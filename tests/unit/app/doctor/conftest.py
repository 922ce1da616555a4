"""A machine built in a folder, for the check-up to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tidegate.app.doctor import Outside

if TYPE_CHECKING:
    from pathlib import Path


class Machine:
    """A machine in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        (root / "bin").mkdir(parents=True)
        self.home.mkdir()

    def write(self, name, text=""):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def program(self, name, script):
        self.write(f"bin/{name}", f"#!/bin/sh\n{script}\n").chmod(0o755)

    def link(self, name, target):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def pci(self, place, *, vendor, device, kind="0x020000", driver="", link=("", "", "", "")):
        """Add a function; ``place`` is where it lies below sys/devices, ``link`` as sysfs has it."""
        folder, address = f"sys/devices/{place}", place.rpartition("/")[2]
        self.write(f"{folder}/vendor", f"{vendor:#06x}\n")
        self.write(f"{folder}/device", f"{device:#06x}\n")
        self.write(f"{folder}/class", f"{kind}\n")
        names = ("current_link_speed", "current_link_width", "max_link_speed", "max_link_width")
        for name, value in zip(names, link, strict=True):
            self.write(f"{folder}/{name}", f"{value}\n")
        if driver:
            self.link(f"{folder}/driver", f"../../bus/pci/drivers/{driver}")
        self.link(f"sys/bus/pci/devices/{address}", f"../../../devices/{place}")

    def nic(self, name, place="", *, speed="25000", port=""):
        folder = f"sys/class/net/{name}"
        self.write(f"{folder}/speed", f"{speed}\n")
        self.write(f"{folder}/operstate", "up\n")
        self.write(f"{folder}/phys_port_name", port)
        if place:
            self.link(f"{folder}/device", f"../../../devices/{place}")

    def outside(self, **changes):
        given = {
            "root": self.root,
            "environ": {"PATH": f"{self.root}/bin", "HOME": str(self.home)},
            "system": "linux",
            "release": "6.1.0-test",
            "architecture": "x86_64",
            "user_id": 0,
            "now_seconds": 4e9,
            "has_module": lambda _: False,
            "load_module": lambda _: None,
        }
        return Outside(**{**given, **changes})

    def everything(self):
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path / "machine")
