"""The only place that knows every name: registry, wiring, service."""
