"""Tiny guests that boot in seconds: their image, a libvirt of their own, and a voice inside each."""
