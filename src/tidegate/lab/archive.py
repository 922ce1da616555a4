"""The lab's door to recorded traces: commands read and convert archives through here."""

from __future__ import annotations

from tidegate.sim.traces.load import load_trace

__all__ = ["load_trace"]
