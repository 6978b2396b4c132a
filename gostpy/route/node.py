"""Nodes: a proxy of a hop (dialer and connector), or a target of a forwarder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gostpy.interfaces import Connector, Credentials, Dialer, TLSSettings
from gostpy.net.sockopt import DEFAULT, SocketOptions
from gostpy.route.selector import Marker

__all__ = ["HTTPSettings", "Node"]


@dataclass(frozen=True, slots=True)
class HTTPSettings:
    """``http`` block of a forwarder node: what happens to requests sent to it."""

    host: str = ""
    request_header: Mapping[str, str] = field(default_factory=dict)
    response_header: Mapping[str, str] = field(default_factory=dict)
    rewrite_url: tuple[tuple[str, str], ...] = ()
    rewrite_body: tuple[tuple[str, str, str], ...] = ()
    rewrite_request_body: tuple[tuple[str, str, str], ...] = ()
    auth: Credentials = field(default_factory=Credentials)
    fail_codes: str = ""


@dataclass(slots=True, eq=False)
class Node:
    """One node; identity counts, since mux sessions and fail marks belong to the object.

    Attributes:
        matches: the node's filter or matcher as a function of the request; None matches all.
        bypassed: the node's bypass as a function of the request; None never.
        resolve: the node's own hosts and resolver for its address; None leaves it as it is.
        proxy_protocol: version of the header sent when dialing it, 0 = none.
    """

    name: str
    address: str
    network: str = "tcp"
    dialer: Dialer | None = None
    connector: Connector | None = None
    sockets: SocketOptions = DEFAULT
    proxy_protocol: int = 0
    matches: Callable[[Any], bool] | None = None
    bypassed: Callable[[Any], bool] | None = None
    resolve: Callable[[str, str], str] | None = None
    priority: int = 0
    weight: int = 1
    backup: bool = False
    max_fails: int = 0
    fail_timeout: float = 0.0
    marker: Marker = field(default_factory=Marker)
    http: HTTPSettings | None = None
    tls: TLSSettings | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def retire(self) -> None:
        """Replaced: conns in use go on."""
        if self.dialer is not None:
            self.dialer.retire()

    def close(self) -> None:
        if self.dialer is not None:
            self.dialer.close()
