"""How busy each slice is, from the GPU's own counters (GPM), where it has them: Hopper and later.

The counter is read at two moments: the first call tells nothing yet.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from tidegate.drivers.gpu.port import code_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.drivers.gpu.port import Nvml

VERSION: Final = 1
"""NVML_GPM_METRICS_GET_VERSION."""
SM_BUSY: Final = 2
"""NVML_GPM_METRIC_SM_UTIL: percent of the multiprocessors' time."""


class SliceCounters:
    """The last sample of each slice of each GPU."""

    def __init__(self, nvml: Nvml) -> None:
        """Take the library; nothing is read yet."""
        self._nvml = nvml
        self._last: dict[tuple[str, int], Any] = {}

    def read(self, gpu: str, device: Any, slices: Sequence[int]) -> dict[int, float]:  # noqa: ANN401
        """Return the share (0-1) of each slice that was busy since the last call, where the GPU tells it."""
        for key in [key for key in self._last if key[0] == gpu and key[1] not in slices]:
            self._nvml.nvmlGpmSampleFree(self._last.pop(key))
        found = {}
        for slice_id in slices:
            try:
                now = self._sample(device, slice_id)
            except self._nvml.NVMLError as error:
                if code_of(error) < 0:
                    raise
                return {}  # not this GPU, not this driver, or not us: then no slice of it is told
            before = self._last.get((gpu, slice_id))
            self._last[gpu, slice_id] = now
            if before is None:
                continue
            ratio = self._between(before, now)
            self._nvml.nvmlGpmSampleFree(before)
            if ratio is not None:
                found[slice_id] = ratio
        return found

    def close(self) -> None:
        """Give the samples back."""
        while self._last:
            self._nvml.nvmlGpmSampleFree(self._last.popitem()[1])

    def _sample(self, device: Any, slice_id: int) -> Any:  # noqa: ANN401
        sample = self._nvml.nvmlGpmSampleAlloc()
        try:
            return self._nvml.nvmlGpmMigSampleGet(device, slice_id, sample)
        except self._nvml.NVMLError:
            self._nvml.nvmlGpmSampleFree(sample)
            raise

    def _between(self, before: Any, now: Any) -> float | None:  # noqa: ANN401
        asked = self._nvml.c_nvmlGpmMetricsGet_t()
        asked.version, asked.numMetrics = VERSION, 1
        asked.sample1, asked.sample2 = before, now
        asked.metrics[0].metricId = SM_BUSY
        try:
            said = self._nvml.nvmlGpmMetricsGet(asked).metrics[0]
        except self._nvml.NVMLError:
            return None
        if said.nvmlReturn or not math.isfinite(said.value):
            return None
        return float(min(max(said.value / 100, 0.0), 1.0))
