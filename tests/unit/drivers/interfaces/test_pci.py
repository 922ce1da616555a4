"""What the PCI link of a card carries, from files as Linux has them."""

from __future__ import annotations

import pytest

from tidegate.drivers.interfaces.pci import carried_bytes_per_second, pci_bytes_per_second
from tidegate.model.errors import InputError


@pytest.fixture
def devices(tmp_path):
    def made(address, speed, width):
        folder = tmp_path / address
        folder.mkdir()
        (folder / "current_link_speed").write_text(f"{speed}\n")
        (folder / "current_link_width").write_text(f"{width}\n")
        return tmp_path

    return made


def test_eight_lanes_of_the_third_generation_carry_what_was_measured_of_them():
    # Neugebauer et al., 2018: 62.96 Gbit/s, of which 57.88 are for packets; then their headers.
    assert carried_bytes_per_second(8.0, 8) * 8 / 1e9 == pytest.approx(57.88 * 256 / 280, rel=0.002)


def test_a_generation_doubles_and_lanes_add_up():
    assert carried_bytes_per_second(16.0, 16) == pytest.approx(4 * carried_bytes_per_second(8.0, 8))
    assert carried_bytes_per_second(5.0, 4) * 2 > carried_bytes_per_second(8.0, 4) / 1.01


def test_it_is_read_as_the_kernel_writes_it(devices):
    folder = devices("0000:3b:00.0", "16.0 GT/s PCIe", "8")
    assert pci_bytes_per_second("0000:3b:00.0", folder) == carried_bytes_per_second(16.0, 8)
    assert pci_bytes_per_second("3B:00.0", folder) == carried_bytes_per_second(16.0, 8)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("eth0", "no address of a PCI device"),
        ("../../etc", "no address of a PCI device"),
        ("0000:00:01.0", "tells no link"),
    ],
)
def test_what_is_no_device_is_refused_with_the_remedy(devices, address, said):
    folder = devices("0000:3b:00.0", "16.0 GT/s PCIe", "8")
    with pytest.raises(InputError, match=said):
        pci_bytes_per_second(address, folder)


@pytest.mark.parametrize(("speed", "width"), [("Unknown", "8"), ("8.0 GT/s PCIe", "0"), ("", "")])
def test_a_link_that_is_down_is_refused(devices, speed, width):
    folder = devices("0000:3b:00.0", speed, width)
    with pytest.raises(InputError, match="switched on"):
        pci_bytes_per_second("0000:3b:00.0", folder)
