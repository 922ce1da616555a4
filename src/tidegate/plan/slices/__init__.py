"""Which slice of which GPU serves whom: packed so that as much as can be stays open for who comes next."""

from tidegate.plan.slices.planner import SlicePlanner
from tidegate.plan.slices.stranding import SliceTable, stranded_slices

__all__ = ["SlicePlanner", "SliceTable", "stranded_slices"]
