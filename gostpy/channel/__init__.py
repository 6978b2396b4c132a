"""Data channels: carriers, layers and muxes, and the stacks that gost's names stand for."""
