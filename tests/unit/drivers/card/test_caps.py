"""Limits of an application, in files as both versions have them."""

from __future__ import annotations

import pytest

from tidegate.drivers.card import caps as caps_module
from tidegate.drivers.card.caps import Caps, block_devices, weight_of
from tidegate.drivers.cgroups.hierarchy import find_hierarchy
from tidegate.model.application import Amounts

MIB = 1 << 20
APP = "tidegate-card-a/web"


@pytest.fixture
def caps(fake):
    fake.cgroup(APP)
    fake.use(APP, memory=0)
    return Caps(hierarchy=find_hierarchy(fake.root), devices=("8:0", "8:16"))


@pytest.fixture
def written(monkeypatch):
    """The limits as they are written, in their order."""
    seen = []
    real = caps_module.write_text

    def write(file, text):
        seen.append((file.rpartition("/")[2], text))
        real(file, text)

    monkeypatch.setattr(caps_module, "write_text", write)
    return seen


def test_nothing_is_held_where_nothing_was_limited(caps):
    assert caps.held(APP) == Amounts()
    assert caps.held("gone") == Amounts()


def test_a_quota_and_a_weight_beside_it(caps, fake):
    caps.apply(APP, Amounts(cpu_cores=1.5))
    assert caps.held(APP) == Amounts(cpu_cores=1.5)
    assert fake.quota(APP) == "150000"
    assert fake.weight_file(APP).read_text() == ("1536" if fake.version == 1 else str(weight_of(1536)))


def test_weights_are_in_what_the_kernel_takes():
    assert [weight_of(shares) for shares in (2, 1024, 262_144)] == [1, 39, 10_000]


def test_memory_grows_hard_first_and_shrinks_soft_first(caps, fake, written):
    soft, hard = fake.soft_file(APP).name, fake.hard_file(APP).name
    caps.apply(APP, Amounts(memory_bytes=64 * MIB))  # from none
    assert written == [(soft, str(60 * MIB)), (hard, str(64 * MIB))]
    assert caps.held(APP).memory_bytes == 64 * MIB
    written.clear()
    caps.apply(APP, Amounts(memory_bytes=128 * MIB))
    assert written == [(hard, str(128 * MIB)), (soft, str(120 * MIB))]
    written.clear()
    caps.apply(APP, Amounts(memory_bytes=32 * MIB))
    assert written == [(soft, str(30 * MIB)), (hard, str(32 * MIB))]


def test_memory_in_use_is_not_taken_away(caps, fake, written):
    caps.apply(APP, Amounts(memory_bytes=64 * MIB))
    fake.use(APP, memory=40 * MIB, inactive=4 * MIB)
    written.clear()
    caps.apply(APP, Amounts(memory_bytes=37 * MIB))  # its soft step is below the 36 MiB in use
    assert written == []
    assert caps.held(APP).memory_bytes == 64 * MIB
    caps.apply(APP, Amounts(memory_bytes=39 * MIB))
    assert caps.held(APP).memory_bytes == 39 * MIB


def test_a_limit_the_kernel_refuses_puts_the_soft_step_back(caps, fake, monkeypatch):
    caps.apply(APP, Amounts(memory_bytes=64 * MIB))
    before = fake.soft_file(APP).read_text()
    real = caps_module.write_text

    def refuse(file, text):
        if file == str(fake.hard_file(APP)):
            raise OSError(16, "Device or resource busy")
        real(file, text)

    monkeypatch.setattr(caps_module, "write_text", refuse)
    caps.apply(APP, Amounts(memory_bytes=32 * MIB))
    assert fake.soft_file(APP).read_text() == before
    assert caps.held(APP).memory_bytes == 64 * MIB


def test_storage_is_limited_on_every_device(caps, fake, written):
    caps.apply(APP, Amounts(storage_bytes_per_second=1_000_000))
    texts = {text for _, text in written}
    assert texts == (
        {"8:0 1000000", "8:16 1000000"}
        if fake.version == 1
        else {"8:0 rbps=1000000 wbps=1000000", "8:16 rbps=1000000 wbps=1000000"}
    )
    # Here a file keeps the last line only, so one device has no limit.
    assert caps.held(APP).storage_bytes_per_second is None
    lines = [f"{device} 5 \n" for device in caps.devices]
    if fake.version == 2:
        lines = [f"{device} rbps=5 wbps=5 riops=max wiops=max\n" for device in caps.devices]
    for file in fake.rate_files(APP):
        file.write_text("".join(lines))
    assert caps.held(APP).storage_bytes_per_second == 5


def test_without_disks_nothing_is_held_of_them(fake):
    fake.cgroup(APP)
    caps = Caps(hierarchy=find_hierarchy(fake.root))
    caps.apply(APP, Amounts(storage_bytes_per_second=1))
    assert caps.held(APP) == Amounts()


def test_disks_are_found_but_no_loops(tmp_path):
    for name, number in (("sda", "8:0"), ("loop0", "7:0"), ("zram0", "252:0"), ("vda", "254:0")):
        folder = tmp_path / "sys/block" / name
        folder.mkdir(parents=True)
        (folder / "dev").write_text(f"{number}\n")
    assert block_devices(tmp_path) == ("8:0", "254:0")
    assert block_devices(tmp_path / "nowhere") == ()
