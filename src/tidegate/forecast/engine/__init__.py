"""The default engine: one small network learned online across the fleet, and plain models beside it.

The network says how likely demand is to pass each of a ladder of amounts; the plain models say one
calibrated amount each. A record per series decides which of them may act.
"""

from tidegate.forecast.engine.engine import Engine

__all__ = ["Engine"]
