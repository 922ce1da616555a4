"""Serves VRAL: guests' channels, the desk that answers them, the journal of leases, and who supplies."""
