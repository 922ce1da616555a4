"""GPUs through NVIDIA's management library: what there is, who uses it, and slices that are replaced."""
