"""VMs of libvirt as workloads of one server: read in bulk, resized, and given back."""
