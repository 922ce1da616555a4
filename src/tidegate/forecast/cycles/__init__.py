"""Short cycles on live machines: bursts on a schedule, forecast after three of them were seen.

`Cycles` finds them and keeps the record that decides where they may act; `WithCycles` lets them speak in
place of another forecaster where they do.
"""

from tidegate.forecast.cycles.cycles import Cycles
from tidegate.forecast.cycles.with_cycles import WithCycles

__all__ = ["Cycles", "WithCycles"]
