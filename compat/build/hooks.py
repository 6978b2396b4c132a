"""Commands that a service runs when it comes up and goes down.

Each is split as a shell would split it, without a shell. A command that fails is logged and changes
nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from gevent import subprocess

from gostpy.interfaces import Log

__all__ = ["run_hooks"]

HOOK_TIMEOUT = 60.0


def run_hooks(name: str, commands: Sequence[Any], log: Log) -> None:
    """Run the commands of one hook, one after another."""
    for command in commands:
        try:
            words = shlex.split(str(command))
            if not words:
                continue
            done = subprocess.run(words, capture_output=True, timeout=HOOK_TIMEOUT, check=False)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            log.warn(f"{name}: {command}: {error}")
            continue
        if done.returncode:
            output = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
            log.warn(f"{name}: {command}: exit status {done.returncode}: {output[-500:]}")
        else:
            log.debug(f"{name}: {command}")
