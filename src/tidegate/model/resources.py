"""The five resources that move, in the order in which every frame's rows stand."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Resource(IntEnum):
    """A kind of capacity; the value is its row in frames that carry all five."""

    CPU = 0
    MEMORY = 1
    GPU = 2
    NETWORK = 3
    STORAGE = 4

    @property
    def label(self) -> str:
        """The name people type and read, as in ``--resource cpu,memory``."""
        return self.name.lower()

    @property
    def unit(self) -> str:
        """The base unit every amount of this resource is in."""
        return UNITS[self]


UNITS: Final[dict[Resource, str]] = {
    Resource.CPU: "cores",
    Resource.MEMORY: "bytes",
    Resource.GPU: "fraction of one GPU",
    Resource.NETWORK: "bytes/s",
    Resource.STORAGE: "bytes/s",
}
