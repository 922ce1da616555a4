"""This very machine as a card: applications are processes, each in a cgroup of its own."""
