"""``python -m gostpy`` and the ``gostpy`` command: the one place that patches the standard library.

Patching comes before any other import, so that libraries used by handlers (DNS, SSH, Redis ...)
wait on the hub. ``-O``, ``-V`` and ``-h`` need none of it and start without.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line; returns the exit status."""
    words = {argument.lstrip("-").partition("=")[0] for argument in sys.argv[1:]}
    if not words & {"O", "V", "h", "help"}:
        _patch()
    from compat.cli import main as command

    return command()


def _patch() -> None:
    from gevent import events, monkey

    # gevent asks for plug-ins 25 times while it patches, and each time reads the metadata of every
    # installed package: a third of the start-up time, for a feature that nothing here uses
    events.notify_and_call_entry_points = events.notify
    monkey.patch_all()


if __name__ == "__main__":
    sys.exit(main())
