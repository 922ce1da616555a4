"""The engine for whole paths: plain candidates and trained members, blended per series, level and horizon.

1. Plain candidates (`candidates`) look at a series alone. Members are path models of their own, trained on the
   first part of the history and judged on the rest.
2. The gate (`gate`) says how much of each a series should get, from how the series looks now; trained on past
   origins of the same fleet.
3. What came of forecasts from the last days corrects the width, per level and horizon, so that a promise of
   90 % is one (`calibration`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths.gate import Gate
from tidegate.forecast.paths.lessons import Schedule, trained
from tidegate.forecast.paths.outlook import Outlook, Said, outlook
from tidegate.forecast.windows import DAY_SECONDS, HOUR_SECONDS, steps_in
from tidegate.model.paths import PATH_LEVELS, Paths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from tidegate.model.panel import Panel
    from tidegate.ports import PathForecaster
