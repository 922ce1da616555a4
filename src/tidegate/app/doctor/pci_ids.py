"""Which PCI functions are offload cards, accelerators and GPUs.

Numbers and names: the public PCI ID database (pci.ids, August 2026), classes included. The Marvell ones are
not in it: they are the physical functions that Linux' own driver octeon_ep lists (octep_main.h).
Only functions that carry data stand here: a card's bridges and management functions are not cards.
"""

from __future__ import annotations

from typing import Final

CARDS: Final = {
    (0x15B3, 0xA2D2): "NVIDIA BlueField",
    (0x15B3, 0xA2D6): "NVIDIA BlueField-2",
    (0x15B3, 0xA2D9): "NVIDIA BlueField-3 Lx",
    (0x15B3, 0xA2DC): "NVIDIA BlueField-3",
    (0x15B3, 0xA2DF): "NVIDIA BlueField-4",
    (0x1DD8, 0x1002): "AMD Pensando DSC",
    (0x8086, 0x1452): "Intel IPU E2000",
    (0x177D, 0xB100): "Marvell OCTEON TX2 CN98",
    (0x177D, 0xB200): "Marvell OCTEON TX2 CN93",
    (0x177D, 0xB400): "Marvell OCTEON CNF95N",
    (0x177D, 0xB600): "Marvell OCTEON CNF95O",
    (0x177D, 0xB900): "Marvell OCTEON 10 CN10KA",
    (0x177D, 0xBA00): "Marvell OCTEON 10 CNF10KA",
    (0x177D, 0xBC00): "Marvell OCTEON 10 CNF10KB",
    (0x177D, 0xBD00): "Marvell OCTEON 10 CN10KB",
    (0x14E4, 0xD802): "Broadcom Stingray",
    (0x14E4, 0xD804): "Broadcom Stingray",
}
"""(vendor, device): what people call the card."""

BLUEFIELD_VENDOR: Final = 0x15B3

CLASS_PROCESSING_ACCELERATOR: Final = 0x1200
CLASS_COPROCESSOR: Final = 0x0B40
CLASS_3D: Final = 0x0302
CLASS_DISPLAY: Final = 0x0300
"""Base class and subclass, the upper 16 of the 24 bits in sysfs."""

ACCELERATOR_CLASSES: Final = frozenset({CLASS_PROCESSING_ACCELERATOR, CLASS_COPROCESSOR})
GPU_VENDORS: Final = {0x10DE: "NVIDIA", 0x1002: "AMD"}
"""Whose GPUs are worth slicing; a server's own display chip is from others."""

VENDORS: Final = {
    0x1002: "AMD",
    0x1022: "AMD",
    0x10DE: "NVIDIA",
    0x10EE: "AMD Xilinx",
    0x14E4: "Broadcom",
    0x15B3: "NVIDIA Mellanox",
    0x177D: "Marvell",
    0x1AF4: "virtio",
    0x1D0F: "Amazon",
    0x1DA3: "Habana",
    0x1DD8: "AMD Pensando",
    0x8086: "Intel",
}
