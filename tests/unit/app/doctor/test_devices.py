"""NICs, cards, GPUs and traffic, with their PCIe links."""

from __future__ import annotations

import gzip
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tidegate.app.doctor import State
from tidegate.app.doctor.judge_devices import judge_cards, judge_gpus, judge_interfaces
from tidegate.app.doctor.probe_devices import (
    TransportSeen,
    read_gpus,
    read_interfaces,
    read_pci,
    read_shaping,
)

NO_TRANSPORT = TransportSeen(rshim=(), tmfifo=())


def by_name(findings):
    return {finding.name: finding for finding in findings}


PORT = "pci0000:00/0000:00:01.0"


def with_nic(machine, link, *, port=("16.0 GT/s PCIe", "16", "16.0 GT/s PCIe", "16"), speed="100000"):
    machine.pci(PORT, vendor=0x8086, device=0x1, kind="0x060400", link=port)
    machine.pci(f"{PORT}/0000:01:00.0", vendor=0x15B3, device=0x101D, driver="mlx5_core", link=link)
    machine.nic("ens1", f"{PORT}/0000:01:00.0", speed=speed)
    outside_ = machine.outside()
    return judge_interfaces(read_interfaces(outside_), read_pci(outside_))[0]


def test_a_nic_on_a_full_link_works(machine):
    finding = with_nic(machine, ("16.0 GT/s PCIe", "16", "16.0 GT/s PCIe", "16"))
    assert finding.state is State.WORKS
    assert finding.seen == "mlx5_core, 100 Gbit/s, 0000:01:00.0, PCIe x16 16 GT/s (252 Gbit/s)"


def test_a_nic_whose_link_runs_narrower_than_it_could_is_limited(machine):
    finding = with_nic(machine, ("8.0 GT/s PCIe", "4", "16.0 GT/s PCIe", "16"))
    assert finding.state is State.LIMITED
    assert "PCIe x4 8 GT/s, could be x16 16 GT/s" in finding.seen
    assert "reseat" in finding.get


def test_a_nic_in_a_slot_that_can_do_no_more_is_to_be_moved(machine):
    slot = ("8.0 GT/s PCIe", "8", "8.0 GT/s PCIe", "8")
    finding = with_nic(machine, ("8.0 GT/s PCIe", "8", "16.0 GT/s PCIe", "16"), port=slot)
    assert "to a slot with x16 16 GT/s" in finding.get


def test_a_full_link_that_carries_less_than_the_port_is_limited(machine):
    slot = ("8.0 GT/s PCIe", "8", "8.0 GT/s PCIe", "8")
    finding = with_nic(machine, slot, port=slot)
    assert finding.state is State.LIMITED
    assert "count on 63 Gbit/s" in finding.get


def test_only_physical_nics_count(machine):
    machine.pci("0000:00:03.0", vendor=0x1AF4, device=0x1041)
    (machine.root / "sys/devices/0000:00:03.0/virtio2").mkdir()
    machine.nic("eth0", "0000:00:03.0/virtio2", speed="-1")
    machine.pci("0000:01:00.2", vendor=0x15B3, device=0x101E)
    machine.write("sys/devices/0000:01:00.2/physfn")
    machine.nic("vf", "0000:01:00.2")
    machine.nic("lo")
    machine.nic("representor", "0000:00:03.0", port="pf0vf3")
    machine.nic("tmfifo_net0", "0000:00:03.0")
    seen = read_interfaces(machine.outside())
    assert [(one.name, one.address, one.bytes_per_second) for one in seen] == [("eth0", "0000:00:03.0", None)]


def test_a_machine_without_nics_says_so():
    assert judge_interfaces((), ())[0].state is State.MISSING


@pytest.mark.parametrize(
    ("vendor", "device", "kind", "name"),
    [
        (0x15B3, 0xA2D2, "0x020000", "NVIDIA BlueField"),
        (0x15B3, 0xA2D6, "0x020000", "NVIDIA BlueField-2"),
        (0x15B3, 0xA2DC, "0x020000", "NVIDIA BlueField-3"),
        (0x1DD8, 0x1002, "0x020000", "AMD Pensando DSC"),
        (0x8086, 0x1452, "0x020000", "Intel IPU E2000"),
        (0x177D, 0xB900, "0x020000", "Marvell OCTEON 10 CN10KA"),
        (0x1DA3, 0x1020, "0x120000", "Habana accelerator 1da3:1020"),
        (0x8086, 0x4940, "0x0b4000", "Intel accelerator 8086:4940"),
    ],
)
def test_cards_and_accelerators_are_known_by_number_or_class(machine, vendor, device, kind, name):
    for function in (0, 1):
        machine.pci(f"{PORT}/0000:01:00.{function}", vendor=vendor, device=device, kind=kind, driver="d")
    findings = by_name(judge_cards(read_pci(machine.outside()), NO_TRANSPORT))
    finding = findings[f"{name} at 0000:01:00"]
    assert finding.state is State.WORKS
    assert "d, 2 functions" in finding.seen


def test_a_cards_bridges_and_virtual_functions_are_no_cards(machine):
    machine.pci(PORT, vendor=0x15B3, device=0x1978, kind="0x060400")
    machine.pci("0000:01:00.2", vendor=0x15B3, device=0xA2D6)
    machine.write("sys/devices/0000:01:00.2/physfn")
    assert list(by_name(judge_cards(read_pci(machine.outside()), NO_TRANSPORT))) == ["offload card"]


def test_a_bluefield_wants_its_channel_and_other_cards_do_not(machine):
    machine.pci("0000:01:00.0", vendor=0x15B3, device=0xA2DC, driver="mlx5_core")
    functions = read_pci(machine.outside())
    for rshim, tmfifo, state in [
        ((), (), State.MISSING),
        (("rshim0",), (), State.LIMITED),
        (("rshim0",), ("tmfifo_net0",), State.WORKS),
    ]:
        found = by_name(judge_cards(functions, TransportSeen(rshim=rshim, tmfifo=tmfifo)))
        assert found["BlueField channel"].state is state
    pensando = tuple(replace(one, vendor=0x1DD8, device=0x1002) for one in functions)
    assert "BlueField channel" not in by_name(judge_cards(pensando, NO_TRANSPORT))


class NVMLError(Exception):
    """As the binding raises it."""


def nvml(*, mig=(1, 1), fails=False):
    def init():
        if fails:
            raise NVMLError("Driver Not Loaded")

    def mode(handle):
        if mig is None:
            raise NVMLError("Not Supported")
        return mig

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=init,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda row: row,
        nvmlDeviceGetName=lambda _: "NVIDIA A100",
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(total=40 << 30),
        nvmlDeviceGetMigMode=mode,
        nvmlSystemGetDriverVersion=lambda: "550.1",
    )


@pytest.mark.parametrize(
    ("mig", "state", "says"),
    [((1, 1), State.WORKS, "MIG"), ((0, 0), State.LIMITED, "MIG off"), (None, State.WORKS, "no MIG")],
)
def test_gpus_are_told_with_their_slices(machine, mig, state, says):
    seen = read_gpus(machine.outside(has_module=lambda _: True, load_module=lambda _: nvml(mig=mig)))
    found = by_name(judge_gpus(seen, ()))
    assert found["NVML"].seen == "driver 550.1, 1 GPUs"
    assert found["GPU 0"].state is state
    assert says in found["GPU 0"].seen
    assert "NVIDIA A100, 40 GiB" in found["GPU 0"].seen


def test_a_gpu_without_a_driver_asks_for_the_driver_and_no_gpu_for_a_gpu(machine):
    looks = machine.outside(has_module=lambda _: True, load_module=lambda _: nvml(fails=True))
    assert by_name(judge_gpus(read_gpus(looks), ()))["NVML"].get == "Needs an NVIDIA GPU and its driver."
    machine.pci("0000:01:00.0", vendor=0x10DE, device=0x20B0, kind="0x030200")
    found = by_name(judge_gpus(read_gpus(looks), read_pci(looks)))
    assert found["NVML"].get == "Install NVIDIA's driver."
    assert found["NVIDIA GPU at 0000:01:00.0"].seen.startswith("no driver")


def test_schedulers_are_read_from_the_kernels_own_text(machine):
    text = "CONFIG_NET_SCH_TBF=m\n# CONFIG_NET_SCH_NETEM is not set\n"
    machine.write("proc/config.gz", gzip.compress(text.encode()))
    assert read_shaping(machine.outside()).schedulers == {"tbf": True, "netem": False}


def test_schedulers_are_read_from_the_lists_of_modules(machine):
    assert read_shaping(machine.outside()).schedulers == {"tbf": None, "netem": None}
    machine.write("lib/modules/6.1.0-test/modules.dep", "kernel/net/sched/sch_netem.ko.xz:\n")
    assert read_shaping(machine.outside()).schedulers == {"tbf": False, "netem": True}
    machine.write("sys/module/sch_tbf/refcnt", "0")
    assert read_shaping(machine.outside()).schedulers == {"tbf": True, "netem": True}


def test_a_namespace_is_made_by_root_only(machine):
    machine.program("unshare", f"echo made >> {machine.root}/made")
    assert not read_shaping(machine.outside(user_id=1000)).has_made_namespace
    assert not (machine.root / "made").exists()
    assert read_shaping(machine.outside()).has_made_namespace
    assert (machine.root / "made").read_text() == "made\n"
