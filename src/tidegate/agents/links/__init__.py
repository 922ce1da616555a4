"""Watches the links of a card or a server: probes named peers, counts interfaces, tells each second."""
