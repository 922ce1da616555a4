"""The outside behind ports: whatever is measured and moved."""
