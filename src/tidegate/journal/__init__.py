"""Remembers ticks."""
