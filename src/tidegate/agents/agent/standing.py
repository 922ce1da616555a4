"""How an agent stands to its device, by how long it has not heard it."""

from __future__ import annotations

from enum import Enum
from typing import Final

SILENT_SECONDS: Final = 5.0
"""After so long without a sign of life a device counts as lost; OpenShift's dpu-operator waits as long."""
ALONE_SECONDS: Final = 60.0
"""After so long the last grants are too old to stand: demand has moved on."""


class Standing(Enum):
    """Who decides what workloads hold."""

    LED = "led"
    """The device does."""
    HOLDING = "holding"
    """It is silent: the last grants stand, and nothing is ordered."""
    ALONE = "alone"
    """It is gone: this server's own safe baseline decides until it is heard again."""


def standing(silent_seconds: float) -> Standing:
    """Return how one stands after so many seconds of silence; infinite where the device was never heard."""
    if silent_seconds < SILENT_SECONDS:
        return Standing.LED
    return Standing.HOLDING if silent_seconds < ALONE_SECONDS else Standing.ALONE
