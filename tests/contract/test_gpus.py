"""The kit for GPUs, over the library in memory and, where there is one, over a real GPU."""

from __future__ import annotations

import inspect
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from tidegate.drivers.gpu import port
from tidegate.testing import A100_40GB, H100_80GB, T4, FakeNvml, check_gpu, gpu_checks
from tidegate.testing.fake_gpu_machine import Cut

KINDS = {"a100": A100_40GB, "h100": H100_80GB}


@contextmanager
def occupied(nvml, gpu, found):
    nvml.run(gpu.uuid, found.placed.start, 4242)
    try:
        yield
    finally:
        nvml.end(4242)


IDS = [str(check) for check in gpu_checks(FakeNvml, folder=Path(), occupy=occupied)]


@pytest.mark.parametrize("at", range(len(IDS)), ids=IDS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_library_in_memory_keeps(kind, at, tmp_path):
    gpu_checks(lambda: FakeNvml([T4, KINDS[kind]]), folder=tmp_path, occupy=occupied)[at]()


def test_a_real_gpu_keeps(tmp_path):
    if os.environ.get("TIDEGATE_GPU") != "empty":
        pytest.skip("needs a GPU in MIG mode without slices: set TIDEGATE_GPU=empty where there is one")
    check_gpu(port.binding, folder=tmp_path)


def test_the_kit_finds_a_library_that_destroys_busy_slices(tmp_path, monkeypatch):
    def destroys(self, computeInstance):  # noqa: N803 - the library's name
        del self._compute_of(computeInstance)[0].computes[computeInstance]
        return 0

    monkeypatch.setattr(FakeNvml, "nvmlComputeInstanceDestroy", destroys)
    with pytest.raises(AssertionError, match="destroyed a slice with a program on it"):
        check_gpu(FakeNvml, folder=tmp_path, occupy=occupied)


def test_the_kit_finds_a_library_that_lets_slices_overlap(tmp_path, monkeypatch):
    monkeypatch.setattr(Cut, "places", range(0))
    with pytest.raises(AssertionError, match="made a slice over another"):
        check_gpu(FakeNvml, folder=tmp_path, occupy=occupied)


def functions():
    return [name for name in vars(port.Nvml) if name.startswith("nvml")]


def test_the_port_is_the_binding_s():
    """Names, parameters and codes are those of the binding that is installed."""
    pynvml = pytest.importorskip("pynvml", reason="needs the extra gpu")
    for name in functions():
        ours = list(inspect.signature(getattr(port.Nvml, name)).parameters)[1:]
        theirs = list(inspect.signature(inspect.unwrap(getattr(pynvml, name))).parameters.values())
        assert ours == [parameter.name for parameter in theirs[: len(ours)]], name
        assert all(parameter.default is not parameter.empty for parameter in theirs[len(ours) :]), name
        assert callable(getattr(FakeNvml, name)), name
    for name in ("NOT_SUPPORTED", "NO_PERMISSION", "NOT_FOUND", "DRIVER_NOT_LOADED", "LIBRARY_NOT_FOUND"):
        assert getattr(port, name) == getattr(pynvml, f"NVML_ERROR_{name}")
    for name in ("FUNCTION_NOT_FOUND", "RESET_REQUIRED", "IN_USE", "INSUFFICIENT_RESOURCES"):
        assert getattr(port, name) == getattr(pynvml, f"NVML_ERROR_{name}")
    for name in ("NVML_GPU_INSTANCE_PROFILE_COUNT", "NVML_COMPUTE_INSTANCE_PROFILE_COUNT"):
        assert getattr(FakeNvml, name) == getattr(pynvml, name)


def test_structures_have_the_binding_s_fields():
    pynvml = pytest.importorskip("pynvml", reason="needs the extra gpu")
    place = pynvml.c_nvmlGpuInstancePlacement_t(start=4, size=2)
    assert (place.start, place.size) == (4, 2)
    state = pynvml.c_nvmlVgpuSchedulerSetState_t()
    state.schedulerPolicy, state.enableARRMode = 2, 1
    state.schedulerParams.vgpuSchedData.timeslice = 2_000_000
    read = pynvml.c_nvmlVgpuSchedulerGetState_t()
    assert (read.arrMode, read.schedulerParams.vgpuSchedDataWithARR.timeslice) == (0, 0)
    asked = pynvml.c_nvmlGpmMetricsGet_t()
    asked.version, asked.numMetrics = pynvml.NVML_GPM_METRICS_GET_VERSION, 1
    asked.metrics[0].metricId = pynvml.NVML_GPM_METRIC_SM_UTIL
    for name in ("id", "sliceCount", "instanceCount", "memorySizeMB", "name"):
        assert hasattr(pynvml.c_nvmlGpuInstanceProfileInfo_v2_t(), name)
