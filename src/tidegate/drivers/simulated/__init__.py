"""A simulated fleet as clock, telemetry source and actuator."""
