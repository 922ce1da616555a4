"""The public conformance kit: what forecasters, planners, drivers and runtimes are held to, ours and yours.

```python
from tidegate.testing import check_forecaster

check_forecaster(MyForecaster)  # raises AssertionError with a sentence that says what to mend
```

Under pytest each check can be a test of its own:

```python
@pytest.mark.parametrize("check", forecaster_checks(MyForecaster), ids=str)
def test_my_forecaster_keeps(check):
    check()
```
"""

from __future__ import annotations

from tidegate.testing.check_card_runtime import card_runtime_checks, check_card_runtime
from tidegate.testing.check_driver import Driver, check_driver, driver_checks
from tidegate.testing.check_forecaster import check_forecaster, forecaster_checks
from tidegate.testing.check_gpu import check_gpu, gpu_checks
from tidegate.testing.check_path_forecaster import check_path_forecaster, path_forecaster_checks
from tidegate.testing.check_planner import check_planner, planner_checks
from tidegate.testing.checks import Check
from tidegate.testing.clock import ManualClock
from tidegate.testing.fake_gpu_machine import FakeNvmlError
from tidegate.testing.fake_gpus import A100_40GB, H100_80GB, T4, FakeKind
from tidegate.testing.fake_nvml import FakeNvml
from tidegate.testing.fake_runtime import FakeProgram, FakeRuntime
from tidegate.testing.fleets import forecast_of, places_of, read_only, roster_of, snapshot_of
from tidegate.testing.telemetry import ScriptedTelemetry

__all__ = [
    "A100_40GB",
    "H100_80GB",
    "T4",
    "Check",
    "Driver",
    "FakeKind",
    "FakeNvml",
    "FakeNvmlError",
    "FakeProgram",
    "FakeRuntime",
    "ManualClock",
    "ScriptedTelemetry",
    "card_runtime_checks",
    "check_card_runtime",
    "check_driver",
    "check_forecaster",
    "check_gpu",
    "check_path_forecaster",
    "check_planner",
    "driver_checks",
    "forecast_of",
    "forecaster_checks",
    "gpu_checks",
    "path_forecaster_checks",
    "places_of",
    "planner_checks",
    "read_only",
    "roster_of",
    "snapshot_of",
]
