"""Looks at this machine: what works here, what is missing and how to get it.

`probe_*` reads, within limits and through `Outside` only; `judge_*` says what was read is good for, and is
pure; `check_up` puts both together.
"""

from __future__ import annotations

from tidegate.app.doctor.check_up import check_up
from tidegate.app.doctor.finding import CheckUp, Finding, Need, State
from tidegate.app.doctor.outside import Outside

__all__ = ["CheckUp", "Finding", "Need", "Outside", "State", "check_up"]
