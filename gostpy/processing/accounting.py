"""Options of handlers that know their clients: per-client limits and reports to an observer.

A handler's options class takes them in by inheritance; the builder of a service reads them when it
makes the limiter and the observer behind ``HandlerContext.limit``.
"""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.options import opt

__all__ = ["AccountingOptions"]


@dataclass(frozen=True)
class AccountingOptions:
    """Limiter and observer keys of one handler; values under 1 s count as 1 s."""

    observe_period: float = opt(
        5.0,
        "observePeriod",
        "observer.period",
        "observer.observePeriod",
        kind="duration",
        doc="Interval of the per-client reports to the handler's observer; at least 1s.",
    )
    observer_reset_traffic: bool = opt(
        False,
        "observer.resetTraffic",
        doc="Report byte counters as deltas and reset them after each read.",
    )
    limiter_refresh_interval: float = opt(
        30.0,
        "limiter.refreshInterval",
        kind="duration",
        doc="How long a limiter's answer is kept before it is asked again; at least 1s.",
    )
    limiter_cleanup_interval: float = opt(
        60.0,
        "limiter.cleanupInterval",
        kind="duration",
        doc="How often unused limiters are dropped; at least 1s.",
    )
