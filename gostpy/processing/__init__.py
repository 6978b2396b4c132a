"""Data processing: one file per protocol, handler and connector together."""
