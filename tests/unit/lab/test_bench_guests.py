"""The image of tiny guests, as far as it needs no kernel and no emulator."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tidegate.drivers.libvirt.described import described
from tidegate.lab.bench.guests.archive import archive, folder, link, program, terminal
from tidegate.lab.bench.guests.domain import GuestSpec, domain_xml
from tidegate.lab.bench.guests.image import Image, built_image, cache_folder
from tidegate.lab.bench.guests.kernel import bare
from tidegate.model.errors import InputError


def test_an_archive_is_what_cpio_takes_for_one(tmp_path):
    data = archive(
        [folder("bin"), program("bin/it", b"#!x"), link("bin/other", "it"), terminal("null", 1, 3)]
    )
    (tmp_path / "it.cpio").write_bytes(data)
    try:
        told = subprocess.run(
            ["cpio", "-t", "-v"], input=data, capture_output=True, check=True, timeout=10
        ).stdout.decode()
    except FileNotFoundError:
        assert data.count(b"070701") == 5
        assert data.rstrip(b"\0").endswith(b"TRAILER!!!")
        return
    names = [line.split()[-3:] for line in told.splitlines()]
    assert [words[-1] for words in names] == ["bin", "bin/it", "it", "null"]
    assert names[2] == ["bin/other", "->", "it"]


def test_the_same_entries_give_the_same_bytes():
    assert archive([program("a", b"1")]) == archive([program("a", b"1")])
    assert len(archive([program("a", b"1")])) % 4 == 0


def test_a_kernel_packed_in_an_unknown_way_is_refused():
    with pytest.raises(InputError, match="packed in an unknown way"):
        bare(bytes(4096))


def test_without_a_kernel_the_way_to_one_is_told(tmp_path):
    with pytest.raises(InputError, match=r"run tests/real/install\.sh as root"):
        built_image(tmp_path)


def test_guests_are_kept_where_xdg_says():
    assert cache_folder({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/tidegate/guest")
    assert cache_folder({"XDG_CACHE_HOME": "no/whole/path", "HOME": "/h"}) == Path("/h/.cache/tidegate/guest")


def test_a_guests_xml_is_what_it_was_asked_to_be(tmp_path):
    image = Image(kernel=Path("/k"), initramfs=Path("/i"))
    spec = GuestSpec(
        name="a", folder=tmp_path, vcpus=2, vcpus_max=4, disk=tmp_path / "d", tap="tap0", memory_bytes=2**28
    )
    seen = described(domain_xml(spec, image))
    assert (seen.vcpus, seen.vcpus_max, seen.disks, seen.taps) == (2, 4, ("vda",), ("tap0",))
    assert (seen.boot_bytes, seen.balloon_period_seconds, seen.is_emulated) == (2**28, 1, True)
