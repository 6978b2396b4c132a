"""Green threads that nobody waits for: one per accepted conn, stream or session.

What they run catches its own errors. gevent's ``spawn_raw`` does the same, but looks up settings
and notes who started whom each time; for a new conn that is a tenth of the work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent import get_hub
from greenlet import greenlet

__all__ = ["start_task"]


def start_task(function: Callable[..., Any], *arguments: Any) -> greenlet:
    """Run the function in a green thread of its own, from the next turn of the loop on."""
    hub = get_hub()
    task = greenlet(function, hub)
    hub.loop.run_callback(task.switch, *arguments)
    return task
