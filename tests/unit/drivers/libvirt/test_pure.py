"""What needs no hypervisor: bulk answers as columns, a domain's XML, its policy, the ledger, the queue."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tidegate.drivers.libvirt.bulk import Amount, Answer, Total, identifier, rates, sample_of
from tidegate.drivers.libvirt.described import described
from tidegate.drivers.libvirt.ledger import Ledger
from tidegate.drivers.libvirt.policy import parsed
from tidegate.drivers.libvirt.runner import Runner, Wish
from tidegate.drivers.libvirt.settings import MEMORY, QUOTA
from tidegate.model.errors import InputError
from tidegate.model.outcome import Phase

XML = """<domain type='qemu'><name>web</name><memory unit='MiB'>768</memory>
  <vcpu current='1'>3</vcpu><cputune><shares>2048</shares><quota>40000</quota><period>50000</period></cputune>
  <devices><memballoon model='virtio'><stats period='5'/></memballoon>
  <disk device='disk'><target dev='vda'/><iotune><total_bytes_sec>1000</total_bytes_sec></iotune></disk>
  <disk device='disk'><target dev='vdb'/><iotune><read_bytes_sec>30</read_bytes_sec>
    <write_bytes_sec>70</write_bytes_sec></iotune></disk>
  <disk device='cdrom'><target dev='sda'/><readonly/></disk>
  <interface type='bridge'><target dev='vnet0'/><bandwidth><inbound average='5'/><outbound average='9'/>
    </bandwidth></interface>
  <interface type='user'/>
  <memory model='virtio-mem'><target><size unit='KiB'>262144</size><block unit='KiB'>2048</block>
    <requested unit='KiB'>0</requested></target><alias name='ua-0'/></memory>
  </devices></domain>"""


def answer(uuid="a", instance=1, **values):
    return Answer(uuid=uuid, name=uuid, instance=instance, values=values)


def test_numbers_of_devices_may_have_gaps_and_are_summed():
    values = {"vcpu.0.time": 10**9, "vcpu.3.time": 2 * 10**9, "vcpu.3.delay": 5 * 10**8, "vcpu.current": 2}
    values |= {"net.0.rx.bytes": 5, "net.1.rx.bytes": 6, "block.0.name": "vda", "block.0.rd.bytes": 7}
    sample = sample_of([answer(**values)], 0.0)
    assert sample.totals[Total.VCPU_SECONDS, 0] == 3
    assert sample.totals[Total.DELAY_SECONDS, 0] == 0.5
    assert sample.totals[Total.RECEIVED_BYTES, 0] == 11
    assert sample.totals[Total.READ_BYTES, 0] == 7
    assert sample.amounts[Amount.VCPUS, 0] == 2


def test_a_missing_group_is_unknown_and_not_zero():
    sample = sample_of([answer(**{"state.state": 1})], 0.0)
    assert np.isnan(sample.totals).all()
    assert np.isnan(np.delete(sample.amounts, Amount.STATE, axis=0)).all()


def test_columns_are_by_identifier_whatever_the_order_of_answers():
    one, other = sample_of([answer("a"), answer("b")], 0.0), sample_of([answer("b"), answer("a")], 0.0)
    assert one.uuids == other.uuids
    assert one.ids.tolist() == sorted(identifier(uuid) for uuid in "ab")


def test_a_total_that_fell_has_no_rate_and_others_do():
    before = sample_of([answer(**{"vcpu.0.time": 5 * 10**9, "net.0.rx.bytes": 100})], 10.0)
    now = sample_of([answer(**{"vcpu.0.time": 10**9, "net.0.rx.bytes": 120}), answer("b")], 12.0)
    at = now.uuids.index("a")
    found = rates(before, now)
    assert np.isnan(found[Total.VCPU_SECONDS, at])
    assert found[Total.RECEIVED_BYTES, at] == 10
    assert np.isnan(found[:, 1 - at]).all()
    assert np.isnan(rates(None, now)).all()


def test_a_domains_xml_says_its_limits_and_devices():
    seen = described(XML)
    assert (seen.vcpus, seen.vcpus_max, seen.cpu_shares) == (1, 3, 2048)
    assert (seen.quota_microseconds, seen.period_microseconds) == (40_000, 50_000)
    assert (seen.disks, seen.disk_bytes_per_second) == (("vda", "vdb"), 1100)
    assert seen.taps == ("vnet0",)
    assert seen.network_bytes_per_second == float("inf")  # the user's interface has no limit
    assert (seen.has_balloon, seen.balloon_period_seconds, seen.is_emulated) == (True, 5, True)
    assert [(one.alias, one.bytes_max, one.block_bytes) for one in seen.plugged] == [("ua-0", 2**28, 2**21)]
    assert seen.boot_bytes == 512 * 2**20


@pytest.mark.parametrize(
    ("said", "mistake"),
    [
        ({"act": "maybe"}, "'act' is yes or no, not 'maybe'"),
        ({"priority": "9"}, "'priority' can't be '9'"),
        ({"memory_bytes_min": "-1"}, "'memory_bytes_min' can't be '-1'"),
        ({"violation_rate": "0.6"}, "'violation_rate' can't be '0.6'"),
        ({"celling": "4"}, "there is no 'celling'"),
    ],
)
def test_a_policy_with_a_mistake_says_so_and_allows_nothing(said, mistake):
    policy = parsed(said)
    assert policy.mistake == mistake
    assert not policy.act


def test_a_ledger_keeps_the_owners_value_through_many_changes(tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    for before, after in ((-1, 50_000), (50_000, 25_000), (25_000, 75_000)):
        ledger.note("a", "web", 1, QUOTA, before, after)
    entry = ledger.noted("a", 1)[QUOTA]
    assert entry.original == -1
    assert entry.is_ours(QUOTA, 75_000)
    assert not entry.is_ours(QUOTA, 33_333)
    ledger.note("a", "web", 1, QUOTA, 33_333, 20_000)  # the owner set it anew
    assert ledger.noted("a", 1)[QUOTA].original == 33_333
    ledger.close()
    again = Ledger(tmp_path / "ledger")
    assert again.noted("a", 1)[QUOTA].original == 33_333
    assert again.noted("a", 2) == {}  # started anew: its settings are its owner's
    again.close()


def test_what_a_balloon_passes_through_is_ours_and_more_is_the_owners(tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    for before, after in ((1000, 900), (900, 800), (800, 1000)):
        ledger.note("a", "web", 1, MEMORY, before, after)
    entry = ledger.noted("a", 1)[MEMORY]
    assert entry.is_ours(MEMORY, 850)
    assert not entry.is_ours(MEMORY, 1200)
    ledger.close()


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
    (tmp_path / "ledger").write_text("{}")
    with pytest.raises(InputError, match="is no ledger of VMs"):
        Ledger(tmp_path / "ledger")


def wish(uuid, row, amount):
    return Wish(uuid=uuid, name=uuid, workload_id=1, row=row, amount=amount, sold=4.0)


def test_a_newer_wish_takes_the_place_of_an_older_and_each_ends_once():
    may_go, did = threading.Event(), []

    def carry_out(one, is_replaced):
        assert may_go.wait(10)
        did.append((one.amount, is_replaced()))
        return Phase.APPLIED

    runner = Runner(carry_out)
    runner.submit([wish("a", 0, 1.0)])
    while not runner._doing:
        may_go.wait(0.001)
    runner.submit([wish("a", 0, 2.0)])
    runner.submit([wish("a", 0, 3.0), wish("a", 1, 9.0)])
    assert {key: one.amount for key, one in runner.under_way().items()} == {("a", 0): 3.0, ("a", 1): 9.0}
    may_go.set()
    assert runner.wait(10)
    assert did == [(1.0, True), (3.0, False), (9.0, False)]
    ended = {one.wish.amount: one.phase for one in runner.take()}
    assert ended == {2.0: Phase.REFUSED, 1.0: Phase.APPLIED, 3.0: Phase.APPLIED, 9.0: Phase.APPLIED}
    assert runner.take() == []
    runner.close()


def test_a_runner_that_is_closed_refuses():
    runner = Runner(lambda _wish, _is_replaced: Phase.APPLIED)
    runner.close()
    runner.submit([wish("a", 0, 1.0)])
    assert [one.phase for one in runner.take()] == [Phase.REFUSED]
