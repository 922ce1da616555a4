"""The soak: months of real or made-up demand through the real loop while everything that can happen does."""

from tidegate.lab.soak.run import SoakResult, SoakSettings, coarser, joined, soak

__all__ = ["SoakResult", "SoakSettings", "coarser", "joined", "soak"]
