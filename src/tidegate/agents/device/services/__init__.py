"""The Offload Card API of one card: each call is read, asked of the core, and answered."""
