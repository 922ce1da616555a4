"""The programs: the agent on a server, the device on a card, the fleet manager of a cell."""
