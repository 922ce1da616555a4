"""`tidegate bench gpu`: slices of GPUs under recorded demand, beside the best packing there is."""

from tidegate.lab.bench.gpu.measure import bench_gpu

__all__ = ["bench_gpu"]
