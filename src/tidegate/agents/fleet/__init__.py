"""The fleet manager: one per cell. It owns on which card each application is, and what it may hold there."""
