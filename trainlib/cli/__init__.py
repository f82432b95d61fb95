"""The commands: what reads flags, and the objects that flags stand for."""
