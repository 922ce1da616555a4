"""Whether a VM's disks are where the target sees them too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from tidegate.drivers.libvirt.moving.checks import is_seen_by_others
from tidegate.model.refusals import Because, refusal

if TYPE_CHECKING:
    from collections.abc import Callable


def require_shared(name: str, xml: str, is_shared: Callable[[Path], bool] = is_seen_by_others) -> None:
    """Refuse to move a VM with a disk that the target would not have; pure but for ``is_shared``.

    Raises:
        Refusal: it has one.

    """
    own = [path for path in local_disks(xml) if not is_shared(Path(path))]
    if own:
        raise refusal(
            Because.UNSUPPORTED,
            f"VM {name} has a disk on this host only ({own[0]}); put it on storage that both hosts see, "
            "or say --shared-storage where they do",
        )


def local_disks(xml: str) -> list[str]:
    """Return the files and devices of a domain's disks that can be written."""
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt made it
    found = []
    for disk in domain.findall("devices/disk"):
        source = disk.find("source")
        if source is None or disk.find("readonly") is not None or disk.get("type") not in {"file", "block"}:
            continue
        found.append(source.get("file") or source.get("dev") or "")
    return [path for path in found if path]
