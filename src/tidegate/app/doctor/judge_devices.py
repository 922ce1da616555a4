"""Says what NICs, cards, accelerators and GPUs are good for, and how wide their PCIe links are. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.app.doctor.amounts import bytes_text, rate_text
from tidegate.app.doctor.finding import Finding, Need, State
from tidegate.app.doctor.pci_ids import (
    ACCELERATOR_CLASSES,
    BLUEFIELD_VENDOR,
    CARDS,
    CLASS_3D,
    CLASS_DISPLAY,
    GPU_VENDORS,
    VENDORS,
)
from tidegate.app.doctor.pcie import link_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tidegate.app.doctor.pcie import Link
    from tidegate.app.doctor.probe_devices import (
        GpusSeen,
        InterfaceSeen,
        PciSeen,
        ShapingSeen,
        TransportSeen,
    )

CARDS_GROUP = "cards and accelerators"
NETWORK_GROUP = "network"
GPU_GROUP = "GPU"
GPU_USE = "GPU slices as a resource: reading use, and moving slices between VMs"


def judge_interfaces(seen: Sequence[InterfaceSeen], functions: Sequence[PciSeen]) -> tuple[Finding, ...]:
    """Judge each physical NIC with its PCIe link."""
    by_address = {function.address: function for function in functions}
    if not seen:
        return (
            Finding(
                name="NIC",
                group=NETWORK_GROUP,
                state=State.MISSING,
                seen="no physical NIC",
                good_for="network as a resource; migration",
                need=Need.HARDWARE,
            ),
        )
    return tuple(_judge_interface(one, by_address) for one in seen)


def _judge_interface(seen: InterfaceSeen, by_address: Mapping[str, PciSeen]) -> Finding:
    speed = rate_text(seen.bytes_per_second) if seen.bytes_per_second else "speed not told"
    function = by_address.get(seen.address)
    link = link_of(function.ends) if function else None
    parts = [seen.driver or "no driver", speed if seen.is_up else "down"]
    if seen.address:
        parts.append(f"{seen.address}, {_link_text(link)}")
    if seen.virtual_functions_max:
        parts.append(f"{seen.virtual_functions} of {seen.virtual_functions_max} virtual functions")
    is_starved = bool(link and seen.bytes_per_second and link.now.bytes_per_second < seen.bytes_per_second)
    get = _link_remedy(seen.name, link)
    if is_starved and link and not get:
        carries = rate_text(link.now.bytes_per_second)
        get = f"{seen.name}'s PCIe link carries less than its port: count on {carries}."
    elif not seen.is_up:
        get = (
            get or f"Bring it up if it is meant to be used: ip link set {seen.name} up, and see to its cable."
        )
    return Finding(
        name=seen.name,
        group=NETWORK_GROUP,
        state=State.LIMITED if get else State.WORKS,
        seen=", ".join(parts),
        good_for="network as a resource; migration",
        need=Need.HARDWARE,
        get=get,
    )


def judge_cards(functions: Sequence[PciSeen], transport: TransportSeen) -> tuple[Finding, ...]:
    """Judge offload cards and accelerators, one line each, and the way to a BlueField."""
    cards = _by_slot(one for one in functions if (one.vendor, one.device) in CARDS)
    others = _by_slot(
        one
        for one in functions
        if one.device_class in ACCELERATOR_CLASSES and (one.vendor, one.device) not in CARDS
    )
    found = [_judge_function(CARDS[one[0].vendor, one[0].device], one, "a card") for one in cards]
    if not found:
        found.append(
            Finding(
                name="offload card",
                group=CARDS_GROUP,
                state=State.MISSING,
                seen="no DPU, SmartNIC or IPU that Tidegate knows; the server is its own device",
                good_for="running a VM's packet, storage and crypto work beside the host's cores",
                need=Need.HARDWARE,
            )
        )
    found += [_judge_function(_vendor_text(one[0]), one, "an accelerator") for one in others]
    is_bluefield = any(one[0].vendor == BLUEFIELD_VENDOR for one in cards)
    if is_bluefield or transport.rshim or transport.tmfifo:
        found.append(_judge_transport(transport))
    return tuple(found)


def _judge_function(label: str, functions: Sequence[PciSeen], kind: str) -> Finding:
    first = functions[0]
    name = f"{label} at {first.address.rpartition('.')[0]}"
    link = link_of(first.ends)
    count = f", {len(functions)} functions" if len(functions) > 1 else ""
    get = _link_remedy(name, link)
    if not first.driver:
        get = get or f"Install the driver of {label} ({first.vendor:04x}:{first.device:04x})."
    return Finding(
        name=name,
        group=CARDS_GROUP,
        state=State.LIMITED if get else State.WORKS,
        seen=f"{first.driver or 'no driver'}{count}, {_link_text(link)}",
        good_for="a place for offloaded applications"
        if kind == "a card"
        else "work that cores need not do; Tidegate counts it where a driver reports it",
        need=Need.HARDWARE,
        get=get,
    )


def _judge_transport(seen: TransportSeen) -> Finding:
    if seen.rshim and seen.tmfifo:
        state, text, get = State.WORKS, f"/dev/{seen.rshim[0]} and {seen.tmfifo[0]}", ""
    elif seen.tmfifo:
        state, text, get = State.WORKS, f"{seen.tmfifo[0]} without rshim: this is the card's end", ""
    elif seen.rshim:
        state, text = State.LIMITED, f"/dev/{seen.rshim[0]}, no tmfifo_net0"
        get = "Bring the interface up: ip link set tmfifo_net0 up, once the card has booted."
    else:
        state, text = State.MISSING, "neither rshim nor tmfifo_net0"
        get = "Install and start the rshim driver (systemctl start rshim)."
    return Finding(
        name="BlueField channel",
        group=CARDS_GROUP,
        state=state,
        seen=text,
        good_for="reaching the card while its network is being set up",
        need=Need.HARDWARE,
        get=get,
    )


def judge_gpus(seen: GpusSeen, functions: Sequence[PciSeen]) -> tuple[Finding, ...]:
    """Judge GPUs as NVML tells them, and those on the bus that it does not."""
    on_bus = [
        one
        for one in functions
        if one.device_class in {CLASS_3D, CLASS_DISPLAY} and one.vendor in GPU_VENDORS and not one.is_virtual
    ]
    findings = [_judge_nvml(seen, has_nvidia=any(GPU_VENDORS[one.vendor] == "NVIDIA" for one in on_bus))]
    for number, gpu in enumerate(seen.gpus):
        slices = {"on": "in slices (MIG)", "off": "MIG off", "no": "no MIG"}[gpu.slices]
        is_whole = gpu.slices == "off"
        findings.append(
            Finding(
                name=f"GPU {number}",
                group=GPU_GROUP,
                state=State.LIMITED if is_whole else State.WORKS,
                seen=f"{gpu.name}, {bytes_text(gpu.memory_bytes)}, {slices}",
                good_for=GPU_USE,
                need=Need.HARDWARE,
                get="Switch slices on if VMs are to share it: nvidia-smi -mig 1 (resets it)."
                if is_whole
                else "",
            )
        )
    findings += [
        Finding(
            name=f"{GPU_VENDORS[one.vendor]} GPU at {one.address}",
            group=GPU_GROUP,
            state=State.LIMITED if remedy else State.WORKS,
            seen=f"{one.driver or 'no driver'}, {_link_text(link)}",
            good_for="whether the GPU gets the lanes it could use",
            need=Need.HARDWARE,
            get=remedy,
        )
        for one in on_bus
        for link in (link_of(one.ends),)
        for remedy in (_link_remedy(f"the GPU at {one.address}", link),)
    ]
    return tuple(findings)


def _judge_nvml(seen: GpusSeen, *, has_nvidia: bool) -> Finding:
    if not seen.has_binding:
        state, text, get = (
            State.MISSING,
            "no pynvml",
            "Run pip install 'tidegate[gpu]'.",
        )
    elif seen.problem:
        state, text = State.MISSING, f"pynvml is here; {seen.problem}"
        get = "Install NVIDIA's driver." if has_nvidia else "Needs an NVIDIA GPU and its driver."
    elif not seen.gpus:
        state, text = State.MISSING, f"driver {seen.driver}, no GPU"
        get = "Give this machine a GPU, or pass one through."
    else:
        state, text, get = State.WORKS, f"driver {seen.driver}, {len(seen.gpus)} GPUs", ""
    return Finding(
        name="NVML", group=GPU_GROUP, state=state, seen=text, good_for=GPU_USE, need=Need.HARDWARE, get=get
    )


def judge_shaping(seen: ShapingSeen) -> tuple[Finding, ...]:
    """Judge what limits and what isolates traffic."""
    lacks = [name for name, is_there in seen.schedulers.items() if is_there is False]
    kernel = ", ".join(f"{name} {_said(is_there)}" for name, is_there in seen.schedulers.items())
    if not seen.tc_version:
        state, text, get = State.MISSING, f"no tc; kernel: {kernel}", "Install iproute2."
    elif "tbf" in lacks:
        state, text = State.MISSING, f"kernel: {kernel}"
        get = "Use a kernel with CONFIG_NET_SCH_TBF, or modprobe sch_tbf."
    elif lacks:
        state, text = State.LIMITED, f"tc; kernel: {kernel}"
        get = "For tests of delay and loss: a kernel with CONFIG_NET_SCH_NETEM (package of extra modules)."
    else:
        state, text, get = State.WORKS, f"tc; kernel: {kernel}", ""
    return (
        Finding(
            name="traffic shaping",
            group=NETWORK_GROUP,
            state=state,
            seen=text,
            good_for="network limits per VM (tbf); delay and loss in tests (netem)",
            need=Need.ACTING if state is State.MISSING else Need.MORE,
            get=get,
        ),
        _judge_namespaces(seen),
    )


def _judge_namespaces(seen: ShapingSeen) -> Finding:
    if seen.has_made_namespace:
        state, text, get = State.WORKS, "made one, and it is gone again", ""
    elif not seen.has_namespaces:
        state, text, get = State.MISSING, "the kernel has none", "Use a kernel with CONFIG_NET_NS."
    elif seen.is_root:
        state, text = State.MISSING, "making one was refused, or unshare (util-linux) is missing"
        get = "Install util-linux, and give the container CAP_SYS_ADMIN."
    else:
        state, text, get = (
            State.LIMITED,
            "only root can make one",
            "Run as root for tests between namespaces.",
        )
    return Finding(
        name="network namespaces",
        group=NETWORK_GROUP,
        state=state,
        seen=text,
        good_for="tests of host and card as two machines on one",
        need=Need.MORE,
        get=get,
    )


def _said(is_there: bool | None) -> str:  # noqa: FBT001 - a reading, not a switch
    return {True: "yes", False: "no", None: "not told"}[is_there]


def _by_slot(functions: Iterable[PciSeen]) -> list[list[PciSeen]]:
    """Return the functions of each device together; virtual ones are parts of others and left out."""
    slots: dict[str, list[PciSeen]] = {}
    for function in functions:
        if not function.is_virtual:
            slots.setdefault(function.address.rpartition(".")[0], []).append(function)
    return list(slots.values())


def _vendor_text(function: PciSeen) -> str:
    vendor = VENDORS.get(function.vendor, "")
    return f"{vendor} accelerator {function.vendor:04x}:{function.device:04x}".strip()


def _link_text(link: Link | None) -> str:
    if link is None:
        return "PCIe link not told"
    full = "" if link.is_full else f", could be {link.could}"
    return f"PCIe {link.now}{full} ({rate_text(link.now.bytes_per_second)})"


def _link_remedy(name: str, link: Link | None) -> str:
    """Return what to do about a link that is narrower or slower than the function could."""
    if link is None or link.is_full:
        return ""
    if link.is_by_slot:
        return (
            f"Move {name} to a slot with {link.could}: the link of {link.narrowest} can't exceed {link.now}."
        )
    return (
        f"Look again while {name} is busy (idle links slow down); if {link.narrowest} stays at {link.now}, "
        "reseat it and see to riser and firmware settings."
    )
