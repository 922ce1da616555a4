"""Stage 5: make it true. Wrappers around any actuator."""
