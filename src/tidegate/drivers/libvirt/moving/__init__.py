"""Moves VMs between hosts while they run: through libvirt, or through two emulators' own control sockets."""
