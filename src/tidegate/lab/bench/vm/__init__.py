"""`tidegate bench vm`: how long it takes to see and to resize real VMs, emulated on this machine."""

from tidegate.lab.bench.vm.measure import bench_vm

__all__ = ["bench_vm"]
