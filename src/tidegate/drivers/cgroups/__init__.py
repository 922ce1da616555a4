"""Cgroups of either version: where they are, what they used, what they may; for drivers that need them."""
