"""GPUs and their slices: read, given out, replaced, given back, and whole again after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.drivers.gpu import port
from tidegate.drivers.gpu.reading import by_vm
from tidegate.drivers.gpu.server import GpuServer
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.gpu import Placed, Replacement, SliceMode
from tidegate.model.gpu_sharing import Sharing, Turns, VgpuSchedule
from tidegate.model.refusals import Refusal
from tidegate.testing import A100_40GB, H100_80GB, T4, FakeNvml

ONE = Placed(profile="1g.5gb", start=0, size=1)
TWO = Placed(profile="2g.10gb", start=2, size=2)
HALF = Placed(profile="3g.20gb", start=4, size=4)
WHOLE = Placed(profile="7g.40gb", start=0, size=8)
VM = "6695eb01-f6a4-8304-79aa-97f2502e193f"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gpu.json"


def uuid_of(nvml, at=0):
    return nvml.gpus[at].uuid


def order(nvml, *, destroy=(), create=()):
    return Replacement(gpu=uuid_of(nvml), destroy=tuple(destroy), create=tuple(create))


def places(server, nvml):
    return [one.placed for one in server.look_at(uuid_of(nvml)).slices]


def test_gpus_are_told_as_they_are(path):
    nvml = FakeNvml([A100_40GB, H100_80GB, T4])
    with GpuServer(nvml, ledger_path=path) as server:
        a100, h100, t4 = server.look()
    assert (a100.name, a100.mode, a100.memory_bytes) == ("NVIDIA A100-SXM4-40GB", SliceMode.ON, 40 << 30)
    assert (a100.geometry.compute_slices, a100.geometry.memory_slices) == (7, 8)
    two = a100.geometry.named("2g.10gb")
    assert (two.compute_slices, two.size, two.starts, two.instances_max) == (2, 2, (0, 2, 4), 3)
    assert h100.geometry.named("1g.20gb").starts == (0, 2, 4, 6)
    assert (t4.mode, t4.geometry, t4.slices) == (SliceMode.UNABLE, None, ())


def test_drivers_without_names_of_profiles_get_names_by_size(path, monkeypatch):
    original = FakeNvml.nvmlDeviceGetGpuInstanceProfileInfo

    def old(self, device, profile, version=2):
        if version == 2:
            raise self.NVMLError(port.FUNCTION_NOT_FOUND)
        return original(self, device, profile, version)

    monkeypatch.setattr(FakeNvml, "nvmlDeviceGetGpuInstanceProfileInfo", old)
    with GpuServer(FakeNvml(), ledger_path=path) as server:
        names = [profile.name for profile in server.look()[0].geometry.profiles]
    assert names[:2] == ["1g.5gb", "2g.10gb"]
    assert len(set(names)) == len(names) == 7


def test_use_is_told_by_slice(path):
    nvml = FakeNvml([H100_80GB])
    small = Placed(profile="1g.10gb", start=0, size=1)
    with GpuServer(nvml, ledger_path=path) as server:
        server.replace(order(nvml, create=[small]))
        nvml.run(uuid_of(nvml), 0, 77, memory_bytes=3 << 30)
        nvml.cut(uuid_of(nvml), 0).utilisation = 0.4
        server.look()
        (found,) = server.look()[0].slices
    assert found.use.processes == (77,)
    assert found.use.memory_bytes_used == 3 << 30
    assert found.use.utilisation == pytest.approx(0.4)
    assert found.in_use


def test_who_is_not_told_of_counts_as_busy(path):
    nvml = FakeNvml()
    with GpuServer(nvml, ledger_path=path) as server:
        server.replace(order(nvml, create=[ONE]))
        nvml.fail("nvmlDeviceGetComputeRunningProcesses", port.NO_PERMISSION, times=100)
        assert server.look()[0].slices[0].in_use
        with pytest.raises(Refusal, match="the driver does not say who is"):
            server.replace(order(nvml, destroy=[ONE]))


def test_who_is_not_root_sees_no_slices_and_no_geometry(path):
    with GpuServer(FakeNvml(is_root=False), ledger_path=path) as server:
        (gpu,) = server.look()
    assert (gpu.mode, gpu.geometry, gpu.slices) == (SliceMode.ON, None, ())


@pytest.mark.parametrize("use", ["process", "vgpu", "holder"])
def test_a_slice_in_use_is_not_replaced(path, use):
    nvml = FakeNvml(has_vgpus=True)
    with GpuServer(nvml, ledger_path=path) as server:
        found = server.replace(order(nvml, create=[ONE, HALF])).slice_at(ONE)
        if use == "process":
            nvml.run(uuid_of(nvml), 0, 77)
        elif use == "vgpu":
            nvml.add_vgpu(uuid_of(nvml), VM, slice_id=found.slice_id)
        else:
            server.give(uuid_of(nvml), ONE, "web")
        calls = dict(nvml.calls)
        with pytest.raises(Refusal, match=r"slice 1g.5gb at 0 of GPU-0.* is in use"):
            server.replace(order(nvml, destroy=[HALF, ONE], create=[WHOLE]))
        assert nvml.calls["nvmlGpuInstanceDestroy"] == calls.get("nvmlGpuInstanceDestroy", 0)
        assert places(server, nvml) == [ONE, HALF]


def test_a_program_that_starts_at_the_last_moment_stops_the_replacement(path):
    """The library itself refuses then, and what had been destroyed before is made again."""
    nvml = FakeNvml()
    with GpuServer(nvml, ledger_path=path) as server:
        server.replace(order(nvml, create=[ONE, HALF]))
        nvml.run(uuid_of(nvml), 4, 77)
        original = server.look_at

        def before_it_started(gpu):
            nvml.end(77)
            try:
                return original(gpu)
            finally:
                nvml.run(gpu, 4, 77)

        server.look_at = before_it_started
        with pytest.raises(TidegateError, match=r"not replaced .*it is as it was"):
            server.replace(order(nvml, destroy=[ONE, HALF], create=[WHOLE]))
        server.look_at = original
        assert places(server, nvml) == [ONE, HALF]
        assert server.look()[0].slice_at(HALF).use.processes == (77,)


def test_a_slice_with_several_compute_instances_is_made_again_with_all_of_them(path):
    nvml = FakeNvml()
    with GpuServer(nvml, ledger_path=path) as server:
        server.replace(order(nvml, create=[HALF]))
        (handle,) = nvml.gpus[0].cuts
        nvml.nvmlComputeInstanceDestroy(next(iter(nvml.gpus[0].cuts[handle].computes)))
        for _ in range(3):
            nvml.nvmlGpuInstanceCreateComputeInstance(handle, 0)
        nvml.fail("nvmlDeviceCreateGpuInstanceWithPlacement", port.INSUFFICIENT_RESOURCES)
        with pytest.raises(TidegateError, match="it is as it was"):
            server.replace(order(nvml, destroy=[HALF], create=[WHOLE]))
        assert len(server.look()[0].slices[0].uuids) == 3


@pytest.mark.parametrize(
    ("destroy", "create", "says"),
    [
        ((), (Placed(profile="1g.5gb", start=7, size=1),), "may begin at 0, 1, 2"),
        ((), (WHOLE,), "overlaps another"),
        ((), (Placed(profile="5g.5gb", start=0, size=1),), "no slice profile '5g.5gb'"),
        ((HALF,), (), "has no slice 3g.20gb at 4"),
        ((ONE, ONE), (), "destroyed twice"),
        ((ONE,), (ONE,), "destroyed and made again"),
        (
            (),
            (
                Placed(profile="1g.5gb+me", start=2, size=1),
                Placed(profile="1g.5gb+me", start=3, size=1),
            ),
            "at most 1 slices 1g.5gb",
        ),
    ],
)
def test_what_can_not_be_is_refused_and_changes_nothing(path, destroy, create, says):
    nvml = FakeNvml()
    with GpuServer(nvml, ledger_path=path) as server:
        server.replace(order(nvml, create=[ONE]))
        with pytest.raises((Refusal, InputError), match=says):
            server.replace(order(nvml, destroy=destroy, create=create))
        assert places(server, nvml) == [ONE]


@pytest.mark.parametrize("dies_after", range(8))
def test_a_replacement_that_a_crash_cut_short_is_undone_or_done_at_the_next_start(path, dies_after):
    """The process dies in any of the calls that change something."""
    nvml = FakeNvml()
    with GpuServer(nvml, ledger_path=path) as server:
        server.replace(order(nvml, create=[ONE, TWO]))
        server.give(uuid_of(nvml), TWO, "web")
    names = [f"nvml{name}" for name in ("ComputeInstanceDestroy", "GpuInstanceDestroy")]
    names += ["nvmlDeviceCreateGpuInstanceWithPlacement", "nvmlGpuInstanceCreateComputeInstance"]
    changes, original = [], nvml.enter

    def dies(name):
        if name in names:
            changes.append(name)
            if len(changes) > dies_after:
                raise KeyboardInterrupt  # as kill -9: nothing of ours runs any more
        original(name)

    nvml.enter = dies
    server = GpuServer(nvml, ledger_path=path)
    new = Placed(profile="1g.5gb", start=1, size=1)
    more = Placed(profile="2g.10gb", start=4, size=2)
    try:
        server.replace(order(nvml, destroy=[ONE], create=[new, more]))
    except KeyboardInterrupt:
        assert dies_after < 6
    else:
        assert dies_after >= 6
    server._ledger.close()
    nvml.enter = original
    with GpuServer(nvml, ledger_path=path) as again:
        assert not again.unsettled
        found = places(again, nvml)
        assert all(len(one.uuids) == 1 for one in again.look()[0].slices)
        assert found == ([new, TWO, more] if dies_after >= 6 else [ONE, TWO])
        assert again.look()[0].slice_at(TWO).holder == "web"


def test_what_reads_back_otherwise_is_undone(path, monkeypatch):
    """The library says that it made a compute instance, and there is none."""
    nvml = FakeNvml()
    with GpuServer(nvml, ledger_path=path) as server:
        server.replace(order(nvml, create=[ONE]))
        real, answers = nvml.nvmlGpuInstanceCreateComputeInstance, [0]
        monkeypatch.setattr(
            nvml,
            "nvmlGpuInstanceCreateComputeInstance",
            lambda *asked: answers.pop() if answers else real(*asked),
        )
        with pytest.raises(TidegateError, match=r"it reads back otherwise\); it is as it was"):
            server.replace(order(nvml, destroy=[ONE], create=[HALF]))
        assert places(server, nvml) == [ONE]


def test_what_can_not_be_undone_stays_noted_and_stops_further_changes(path):
    nvml = FakeNvml()
    with GpuServer(nvml, ledger_path=path) as server:
        server.replace(order(nvml, create=[ONE]))
        nvml.fail("nvmlDeviceCreateGpuInstanceWithPlacement", port.INSUFFICIENT_RESOURCES, times=3)
        with pytest.raises(TidegateError, match=r"slice 1g.5gb at 0 can't be made again"):
            server.replace(order(nvml, destroy=[ONE], create=[WHOLE]))
        with pytest.raises(Refusal, match="settle it first"):
            server.replace(order(nvml, create=[WHOLE]))
        server.settle()
        assert server.unsettled
        server.settle()
        assert not server.unsettled
        assert places(server, nvml) == [ONE]


def test_owners_get_back_what_they_had(path):
    nvml = FakeNvml(has_vgpus=True)
    with GpuServer(nvml, ledger_path=path) as server:
        server.replace(order(nvml, create=[HALF]))
    path.unlink()  # so that this is how the owner has it
    with GpuServer(nvml, ledger_path=path) as server:
        server.replace(order(nvml, destroy=[HALF], create=[ONE]))
        server.replace(order(nvml, create=[TWO]))
        server.set_sharing(uuid_of(nvml), Sharing.ONE_PROGRAM)
        server.set_vgpu_schedule(uuid_of(nvml), VgpuSchedule(turns=Turns.EQUAL_SHARE))
    with GpuServer(nvml, ledger_path=path) as server:
        server.release(uuid_of(nvml))
        assert places(server, nvml) == [HALF]
        assert server.sharing(uuid_of(nvml)) is Sharing.BY_TURNS
        assert server.vgpu_schedule(uuid_of(nvml)) == VgpuSchedule(turns=Turns.BEST_EFFORT)
    assert not path.exists()


def test_an_owner_s_compute_instances_come_back_too(path):
    nvml = FakeNvml()
    with GpuServer(nvml, ledger_path=path) as server:
        server.replace(order(nvml, create=[HALF]))
        (handle,) = nvml.gpus[0].cuts
        nvml.nvmlComputeInstanceDestroy(next(iter(nvml.gpus[0].cuts[handle].computes)))
        for profile in (0, 1):
            nvml.nvmlGpuInstanceCreateComputeInstance(handle, profile)
    path.unlink()
    with GpuServer(nvml, ledger_path=path) as server:
        server.replace(order(nvml, destroy=[HALF], create=[WHOLE]))
        server.release(uuid_of(nvml))
        (cut,) = nvml.gpus[0].cuts.values()
        assert sorted(one.profile for one in cut.computes.values()) == [0, 1]


def test_a_setting_that_does_not_take_is_told(path, monkeypatch):
    nvml = FakeNvml()
    monkeypatch.setattr(nvml, "nvmlDeviceSetComputeMode", lambda *_: None)
    with (
        GpuServer(nvml, ledger_path=path) as server,
        pytest.raises(TidegateError, match="reads back as BY_TURNS, not as NOBODY"),
    ):
        server.set_sharing(uuid_of(nvml), Sharing.NOBODY)


def test_who_holds_a_slice_is_known_after_a_restart_and_not_for_another_in_its_place(path):
    nvml = FakeNvml()
    with GpuServer(nvml, ledger_path=path) as server:
        server.replace(order(nvml, create=[ONE]))
        server.give(uuid_of(nvml), ONE, "web")
        with pytest.raises(Refusal, match="held by 'web'"):
            server.give(uuid_of(nvml), ONE, "batch")
    with GpuServer(nvml, ledger_path=path) as server:
        assert server.look()[0].slices[0].holder == "web"
        nvml.gpus[0].cuts.clear()  # somebody else's doing
        server.replace(order(nvml, create=[ONE]))
        assert not server.look()[0].slices[0].holder


def test_the_page_s_example_runs(path, monkeypatch, capsys):
    page = Path(__file__).parents[4] / "docs/operate/gpu-slices.md"
    block = page.read_text("utf-8").split("```python\n")[1].split("```")[0]
    nvml = FakeNvml()
    monkeypatch.setattr("tidegate.drivers.gpu.server.GpuServer", lambda: GpuServer(nvml, ledger_path=path))
    exec(compile(block, page.name, "exec"), {})
    assert capsys.readouterr().out == "()\n"
    with GpuServer(nvml, ledger_path=path) as server:
        assert [one.holder for one in server.look()[0].slices] == ["web"]


def test_two_processes_may_not_change_the_same_gpus(path):
    with GpuServer(FakeNvml(), ledger_path=path), pytest.raises(InputError, match="another process"):
        GpuServer(FakeNvml(), ledger_path=path)


def test_vgpus_are_joined_with_virtual_machines_by_uuid(path):
    nvml = FakeNvml(sliced=False, has_vgpus=True)
    nvml.add_vgpu(uuid_of(nvml), VM.upper())
    nvml.add_vgpu(uuid_of(nvml), "0f3b1c5e-0000-4000-8000-000000000000")
    with GpuServer(nvml, ledger_path=path) as server:
        vgpus = server.look()[0].vgpus
    joined = by_vm(vgpus, {VM: "web", "11111111-2222-4333-8444-555555555555": "batch"})
    assert {name: [vgpu.vm_uuid for vgpu in those] for name, those in joined.items()} == {"web": [VM]}
    assert joined["web"][0].memory_bytes_used == 512 << 20
    assert joined["web"][0].slice_id is None


def test_turns_of_vgpus_change_only_while_no_machine_is_on_the_gpu(path):
    nvml = FakeNvml(sliced=False, has_vgpus=True)
    wanted = VgpuSchedule(turns=Turns.FIXED_SHARE, timeslice_nanoseconds=5_000_000)
    with GpuServer(nvml, ledger_path=path) as server:
        assert server.set_vgpu_schedule(uuid_of(nvml), wanted) == wanted
        with pytest.raises(Refusal, match="1000000 to 30000000 ns"):
            server.set_vgpu_schedule(
                uuid_of(nvml), VgpuSchedule(turns=Turns.EQUAL_SHARE, timeslice_nanoseconds=10)
            )
        nvml.add_vgpu(uuid_of(nvml), VM)
        with pytest.raises(Refusal, match="1 vGPUs are on"):
            server.set_vgpu_schedule(uuid_of(nvml), VgpuSchedule(turns=Turns.BEST_EFFORT))
        assert server.vgpu_schedule(uuid_of(nvml)) == wanted


def test_gpus_without_vgpus_have_no_schedule(path):
    nvml = FakeNvml()
    with GpuServer(nvml, ledger_path=path) as server:
        assert server.vgpu_schedule(uuid_of(nvml)) is None
        with pytest.raises(Refusal, match="has no vGPUs"):
            server.set_vgpu_schedule(uuid_of(nvml), VgpuSchedule(turns=Turns.EQUAL_SHARE))


def test_slices_are_switched_on_only_where_nobody_computes(path):
    nvml = FakeNvml(sliced=False)
    nvml.run(uuid_of(nvml), None, 77)
    with GpuServer(nvml, ledger_path=path) as server:
        with pytest.raises(Refusal, match="process 77 is on it"):
            server.set_mode(uuid_of(nvml), sliced=True)
        with pytest.raises(Refusal, match="MIG off"):
            server.replace(order(nvml, create=[ONE]))
        nvml.end(77)
        assert server.set_mode(uuid_of(nvml), sliced=True) is SliceMode.ON


def test_a_machine_without_the_driver_says_so(path):
    nvml = FakeNvml()
    nvml.fail("nvmlInit", port.LIBRARY_NOT_FOUND)
    with pytest.raises(TidegateError, match="driver is not here"):
        GpuServer(nvml, ledger_path=path)
    with GpuServer(nvml, ledger_path=path) as server, pytest.raises(Refusal, match="there is no GPU x here"):
        server.look_at("x")
