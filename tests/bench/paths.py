"""What is measured: pairs of nodes, as command lines, the entry being ``{entry}``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PATHS", "Path"]


@dataclass(frozen=True)
class Path:
    """One path: server node (may be none), client node, and whether requests go to a proxy."""

    name: str
    server: tuple[str, ...]
    client: tuple[str, ...]
    absolute: bool = False  # requests in absolute form, to an HTTP proxy


def _chain(name: str, scheme: str, auth: str = "") -> Path:
    where = f"{scheme}://{auth}{{server}}"
    return Path(name, ("-L", where), ("-L", "tcp://{entry}/{target}", "-F", where))


PATHS = {
    path.name: path
    for path in (
        Path("tcp", (), ("-L", "tcp://{entry}/{target}")),
        _chain("http", "http"),
        Path("http-forward", (), ("-L", "http://{entry}"), absolute=True),
        _chain("socks5", "socks5"),
        _chain("relay+tls", "relay+tls"),
        _chain("relay+wss", "relay+wss"),
        _chain("relay+mwss", "relay+mwss"),
        _chain("relay+ssh", "relay+ssh"),
        _chain("relay+h2", "relay+h2"),
        _chain("http2", "http2"),
        _chain("relay+quic", "relay+quic"),
        _chain("relay+kcp", "relay+kcp"),
        _chain("relay+grpc", "relay+grpc"),
        _chain("relay+otls", "relay+otls"),
        _chain("relay+pht", "relay+pht"),
        _chain("ss", "ss", "aes-128-gcm:secret@"),
    )
}
