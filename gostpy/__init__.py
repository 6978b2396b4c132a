"""gostpy: a tunnel and proxy program, a drop-in replacement for gost v3.

Importing this package changes nothing in the process; only ``python -m gostpy`` patches the
standard library for green threads.
"""

__version__ = "0.1.0"
