"""This very machine as a server: its cgroups, or its process groups, as workloads."""
