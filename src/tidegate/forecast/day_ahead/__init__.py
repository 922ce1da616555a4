"""The day ahead: path models kept fresh beside the forecaster of the next lead, off the hot path."""

from tidegate.forecast.day_ahead.speakers import Speaker
from tidegate.forecast.day_ahead.with_day_ahead import WithDayAhead
from tidegate.forecast.day_ahead.work import Handle, Run, at_once

__all__ = ["Handle", "Run", "Speaker", "WithDayAhead", "at_once"]
