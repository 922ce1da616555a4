"""A module that stands for libvirt's binding, with a hypervisor and guests that obey, or don't."""

from __future__ import annotations

import sys
import threading
import types
import uuid

import pytest

from tidegate.drivers.libvirt import binding
from tidegate.drivers.libvirt.server import LibvirtServer
from tidegate.testing import ManualClock

START = 1_704_067_200
MIB_KIB = 1024
GROUPS = ("STATE", "VCPU", "BALLOON", "INTERFACE", "BLOCK")
EVENTS = (
    "LIFECYCLE",
    "TUNABLE",
    "DEVICE_ADDED",
    "DEVICE_REMOVED",
    "DEVICE_REMOVAL_FAILED",
    "METADATA_CHANGE",
)
NO_DOMAIN, RPC, TIMEOUT, UNSUPPORTED = 42, 39, 68, 84


class FakeError(Exception):
    """What libvirt raises."""

    def __init__(self, words, code):
        super().__init__(words)
        self.code = code

    def get_error_code(self):
        return self.code


class FakeDomain:
    """One VM: two of four vCPUs, 1 GiB, one disk and one tap; its guest uses 256 MiB."""

    def __init__(self, host, name, *, kind="kvm"):
        self.host, self.called, self.kind = host, name, kind
        self.uuid = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
        self.number = len(host.domains) + 1
        self.state, self.vcpus, self.policy = 1, 2, ""
        self.memory_kib, self.most_kib, self.used_kib = 1024 * MIB_KIB, 1024 * MIB_KIB, 256 * MIB_KIB
        self.tells, self.moves, self.period = True, True, 0
        self.swapped_kib, self.unplugs_at_once = 0, True
        self.told = START
        self.cpu = {"vcpu_quota": -1, "vcpu_period": 100_000, "cpu_shares": 1024}
        self.tune = {"total_bytes_sec": 0, "read_bytes_sec": 0, "write_bytes_sec": 0}
        self.totals = {"vcpu.0.time": 0, "vcpu.2.time": 0, "vcpu.0.delay": 0}
        self.totals |= {
            "net.0.rx.bytes": 0,
            "net.0.tx.bytes": 0,
            "block.0.rd.bytes": 0,
            "block.0.wr.bytes": 0,
        }
        self.calls = []

    def name(self):
        return self.called

    def UUIDString(self):  # noqa: N802 - libvirt's names
        return self.uuid

    def ID(self):  # noqa: N802
        return self.number

    def values(self):
        balloon = {"current": self.memory_kib, "maximum": self.most_kib}
        if self.tells:
            balloon |= {"usable": self.memory_kib - self.used_kib, "available": self.memory_kib}
            balloon |= {"last-update": self.host.clock.now_seconds(), "swap_out": self.swapped_kib}
        counted = {"state.state": self.state, "vcpu.current": self.vcpus, "vcpu.maximum": 4}
        return counted | self.totals | {f"balloon.{key}": value for key, value in balloon.items()}

    def memoryStats(self):  # noqa: N802
        self.told += 1
        told = {"actual": self.memory_kib, "rss": 1}
        if self.tells:
            told |= {"usable": self.memory_kib - self.used_kib, "swap_out": self.swapped_kib}
            told["last_update"] = self.told
        return told

    def info(self):
        return [self.state, self.most_kib, self.memory_kib, self.vcpus, 0]

    def setMemoryFlags(self, kibibytes, _flags):  # noqa: N802
        self.calls.append(("memory", kibibytes))
        if self.moves:
            self.memory_kib = kibibytes

    def setMemoryStatsPeriod(self, seconds, _flags):  # noqa: N802
        self.period = seconds

    def vcpusFlags(self, _flags):  # noqa: N802
        return self.vcpus

    def setVcpusFlags(self, vcpus, _flags):  # noqa: N802
        self.calls.append(("vcpus", vcpus))
        if vcpus < self.vcpus and not self.unplugs_at_once:
            self.vcpus -= 1
            raise FakeError("vcpu unplug request timed out", TIMEOUT)
        self.vcpus = vcpus

    def schedulerParametersFlags(self, _flags):  # noqa: N802
        return dict(self.cpu)

    def setSchedulerParametersFlags(self, values, _flags):  # noqa: N802
        self.calls.append(("cpu", dict(values)))
        self.cpu |= values

    def blockIoTune(self, _disk, _flags):  # noqa: N802
        return dict(self.tune)

    def setBlockIoTune(self, _disk, values, _flags):  # noqa: N802
        self.calls.append(("disk", dict(values)))
        self.tune["total_bytes_sec"] = values["total_bytes_sec"]

    def XMLDesc(self, _flags):  # noqa: N802
        stats = f"<stats period='{self.period}'/>" if self.period else ""
        quota = self.cpu["vcpu_quota"]
        limit = f"<quota>{quota}</quota>" if quota > 0 else ""
        total = self.tune["total_bytes_sec"]
        tune = f"<iotune><total_bytes_sec>{total}</total_bytes_sec></iotune>" if total else ""
        return f"""<domain type='{self.kind}'><name>{self.called}</name>
          <metadata>{self.policy}</metadata><memory unit='KiB'>{self.most_kib}</memory>
          <vcpu current='{self.vcpus}'>4</vcpu><cputune><period>100000</period>{limit}</cputune>
          <devices><memballoon model='virtio'>{stats}</memballoon>
          <disk device='disk'><target dev='vda'/>{tune}</disk></devices></domain>"""


class FakeHost:
    """One hypervisor, and the connection to it."""

    def __init__(self):
        self.clock, self.passed = ManualClock(START), 1000.0
        self.domains, self.heard, self.is_up, self.opened = [], [], True, 0
        self.disks_asked = 0

    def domain(self, name, **options):
        self.domains.append(FakeDomain(self, name, **options))
        return self.domains[-1]

    def advance(self, seconds):
        self.passed += seconds
        self.clock.advance(int(seconds))

    def policy(self, domain, words):
        domain.policy = f"<policy xmlns='urn:tidegate:policy:1' {words}/>"
        for told in self.heard:
            told(self, domain, None)

    def open(self, _uri):
        self._require_up()
        self.opened += 1
        return self

    def getAllDomainStats(self, _groups, _flags):  # noqa: N802
        self._require_up()
        return [(domain, domain.values()) for domain in self.domains]

    def domainListGetStats(self, domains, groups, _flags):  # noqa: N802
        self._require_up()
        disks = groups & 1 << GROUPS.index("BLOCK")
        self.disks_asked += len(domains) if disks else 0
        return [
            (one, {key: value for key, value in one.values().items() if disks or not key.startswith("block")})
            for one in domains
        ]

    def lookupByUUIDString(self, wanted):  # noqa: N802
        self._require_up()
        for domain in self.domains:
            if domain.uuid == wanted:
                return domain
        raise FakeError("no such domain", NO_DOMAIN)

    def domainEventRegisterAny(self, _domain, _event, told, _opaque):  # noqa: N802
        self.heard.append(told)

    def setKeepAlive(self, _seconds, _count):  # noqa: N802
        return 0

    def isAlive(self):  # noqa: N802
        return self.is_up

    def getType(self):  # noqa: N802
        return "QEMU"

    def close(self):
        return 0

    def _require_up(self):
        if not self.is_up:
            raise FakeError("the daemon is gone", RPC)


@pytest.fixture
def host(monkeypatch):
    """A hypervisor behind a module called libvirt."""
    made = FakeHost()
    module = types.ModuleType("libvirt")
    made.by_uri = {"fake:///": made}
    module.libvirtError, module.open = FakeError, lambda uri: made.by_uri[uri].open(uri)
    module.registerErrorHandler = lambda _handler, _context: None
    module.VIR_DOMAIN_AFFECT_LIVE = 1
    module.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE = 1
    module.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT = 2
    for bit, group in enumerate(GROUPS):
        setattr(module, f"VIR_DOMAIN_STATS_{group}", 1 << bit)
    for number, event in enumerate(EVENTS):
        setattr(module, f"VIR_DOMAIN_EVENT_ID_{event}", number)
    monkeypatch.setitem(sys.modules, "libvirt", module)
    running = threading.Event()
    running.set()
    monkeypatch.setattr(binding, "_loop_started", running)
    return made


@pytest.fixture
def server_of(host, tmp_path):
    """Makes servers of that hypervisor; closes what is still open."""
    made = []

    def make(uri="fake:///", **options):
        at = host.by_uri[uri]
        given = {"step_seconds": 10, "ledger_path": tmp_path / "libvirt.json", "memory_step_seconds": 0.0}
        server = LibvirtServer(uri, clock=at.clock, monotonic_seconds=lambda: at.passed, **(given | options))
        made.append(server)
        return server

    yield make
    for one in host.by_uri.values():
        one.is_up = True
    for server in made:
        server.close()
