"""`tidegate bench vral`: how soon a guest has its lease, and what a flood beside it changes."""

from tidegate.lab.bench.vral.measure import bench_vral

__all__ = ["bench_vral"]
