"""Remarks on a configuration, as log lines with their place; what a command line repeats, once.

Parameters of ``-L`` and ``-F`` go to every part of a service or node, and those that become objects
or fields stay in the metadata of other parts, as in gost. There they are no mistakes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from compat.settings import Settings

__all__ = ["parse_path", "remarks"]

_UNKNOWN = "unknown option"
_BOTH = """
    auth bypass resolver prefer hosts interface netns so_mark proxyprotocol
    strategy maxfails max_fails failtimeout fail_timeout
    certfile cert tls.certfile keyfile key tls.keyfile cafile ca tls.cafile
"""
_LIFTED = {
    "-L": frozenset(
        f"""{_BOTH} netns.out dns retries admission climiter rlimiter
        limiter.in limiter.out limiter.conn.in limiter.conn.out""".split()
    ),
    "-F": frozenset(f"{_BOTH} secure tls.secure servername tls.servername".split()),
}


def remarks(settings: Settings, warnings: Iterable[tuple[str, str]]) -> Iterator[str]:
    """One line per remark.

    Args:
        warnings: (path inside the configuration, message).
    """
    told: set[tuple[str, str]] = set()
    for where, message in warnings:
        path = parse_path(where)
        place = settings.position(path) or settings.position(path[:-1])
        flag = place.source.partition(" ")[0] if place else ""
        if flag in _LIFTED and message.startswith(_UNKNOWN):
            key = where.partition("metadata.")[2]
            if key.lower() in _LIFTED[flag] or (str(place), key) in told:
                continue
            told.add((str(place), key))
        yield f"{place}: {where}: {message}" if place else f"{where}: {message}"


def parse_path(where: str) -> tuple[str | int, ...]:
    """``services[0].handler`` as ("services", 0, "handler")."""
    path: list[str | int] = []
    for piece in where.split("."):
        name, *indexes = piece.split("[")
        if name:
            path.append(name)
        path += [int(index.rstrip("]")) for index in indexes if index.rstrip("]").isdigit()]
    return tuple(path)
