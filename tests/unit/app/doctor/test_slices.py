"""What the check-up says of slices: what can be had, and why not."""

from __future__ import annotations

from types import SimpleNamespace

from tidegate.app.doctor.finding import State
from tidegate.app.doctor.judge_slices import judge_slices
from tidegate.app.doctor.probe_slices import read_slices
from tidegate.drivers.gpu import port
from tidegate.drivers.gpu.server import GpuServer
from tidegate.model.gpu import Placed, Replacement
from tidegate.testing import A100_40GB, T4, FakeNvml


def said(machine, nvml):
    looks = machine.outside(has_module=lambda _: True, load_module=lambda _: nvml)
    return {finding.name: finding for finding in judge_slices(read_slices(looks))}


def test_slices_are_told_with_what_is_free(machine, tmp_path):
    nvml = FakeNvml([A100_40GB, T4], has_vgpus=True)
    uuid = nvml.gpus[0].uuid
    made = (Placed(profile="1g.5gb", start=0, size=1), Placed(profile="3g.20gb", start=4, size=4))
    with GpuServer(nvml, ledger_path=tmp_path / "gpu.json") as server:
        server.replace(Replacement(gpu=uuid, create=made))
    nvml.run(uuid, 4, 77)
    found = said(machine, nvml)
    assert found["slices of GPU 0"].state is State.WORKS
    assert found["slices of GPU 0"].seen.startswith(
        "1g.5gb, 3g.20gb; 1 of 2 in use; 3 of 8 memory slices free; could be 7 x 1g.5gb, 3 x 2g.10gb"
    )
    assert found["slices of GPU 1"].state is State.MISSING
    assert "no MIG" in found["slices of GPU 1"].seen
    assert found["vGPUs of GPU 0"].seen == "0 on it, by best effort"
    assert len(nvml.gpus[0].cuts) == 2


def test_who_is_not_root_is_told_to_be(machine):
    found = said(machine, FakeNvml(is_root=False))["slices of GPU 0"]
    assert (found.state, found.get) == (
        State.LIMITED,
        "Run as root to see and replace the slices of GPU 0.",
    )


def test_a_gpu_that_is_not_in_slices_says_what_it_could_be(machine):
    found = said(machine, FakeNvml(sliced=False))["slices of GPU 0"]
    assert found.state is State.LIMITED
    assert found.seen.startswith("MIG off; could be 7 x 1g.5gb")


def test_a_gpu_that_waits_for_a_reset_says_so(machine):
    nvml = FakeNvml()
    nvml.gpus[0].mode = [0, 1]
    found = said(machine, nvml)["slices of GPU 0"]
    assert (found.state, found.seen) == (State.LIMITED, "MIG is on after a reset")
    assert "gpu-reset" in found.get


def test_without_a_driver_or_with_an_old_binding_nothing_is_said(machine):
    nvml = FakeNvml()
    nvml.fail("nvmlInit", port.LIBRARY_NOT_FOUND)
    assert not said(machine, nvml)
    old = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda at: at,
    )
    assert not said(machine, old)
    assert not read_slices(machine.outside(has_module=lambda _: False))
