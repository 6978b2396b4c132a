"""The router of a service: name lookup, choice of a route, attempts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gostpy.errors import DialFailed, GostError, RouteError
from gostpy.interfaces import Binding, Request
from gostpy.net.sockopt import DEFAULT, SocketOptions
from gostpy.route.node import Node
from gostpy.route.route import Route
from gostpy.route.selector import Marker

__all__ = ["Router", "Routes"]


class Routes(Protocol):
    """A chain or a group of chains: answers with the nodes to pass."""

    def choose(self, request: Request) -> tuple[tuple[Node, ...], Marker]:
        """The nodes, and the marker of the chain that they are of.

        Raises RouteError: a route that must not fall back to a direct connection.
        """
        ...


class Router:
    """Dials and binds for one service.

    Args:
        chain: gives the routes; a callable so that a chain replaced by name is used at once.
        resolve: hosts table and resolver; (network, address) -> address. Raises DialFailed.
        attempts: how often a dial is tried, at least once.
        timeout: seconds for name lookup and connecting of one attempt.
        dialed, failed: told the host of every dial and of every failure (recorders).
    """

    def __init__(
        self,
        chain: Callable[[], Routes | None] | None = None,
        *,
        resolve: Callable[[str, str], str] | None = None,
        attempts: int = 1,
        timeout: float = 15.0,
        sockets: SocketOptions = DEFAULT,
        dialed: Callable[[str], None] | None = None,
        failed: Callable[[str], None] | None = None,
    ) -> None:
        self._chain = chain
        self._resolve = resolve
        self._attempts = max(attempts, 1)
        self._timeout = timeout
        self._sockets = sockets.usual()
        self._dialed = dialed
        self._failed = failed

    def dial(self, request: Request) -> Any:
        if self._dialed is not None:
            self._dialed(request.host or request.address)
        error: RouteError | None = None
        for _ in range(self._attempts):
            try:
                return self._attempt(request)
            except NoSuchName:
                self._report(request)
                raise
            except RouteError as failure:
                error = failure
        self._report(request)
        assert error is not None
        raise error

    def _report(self, request: Request) -> None:
        if self._failed is not None:
            self._failed(request.host or request.address)

    def _attempt(self, request: Request) -> Any:
        if self._chain is None and self._resolve is None:
            return Route((), self._sockets, self._timeout).dial(request)
        asked = request
        if self._resolve is not None and request.address:
            asked = _with_address(request, self._look_up(request))
        return self._route(request).dial(asked)

    def _look_up(self, request: Request) -> str:
        assert self._resolve is not None
        try:
            return self._resolve(request.network, request.address)
        except GostError as error:
            raise NoSuchName(str(error), address=request.address) from error

    def _route(self, request: Request) -> Route:
        chain = self._chain() if self._chain is not None else None
        nodes, marker = chain.choose(request) if chain is not None else ((), None)
        request.route = [node.name for node in nodes]
        return Route(nodes, self._sockets, self._timeout, marker)

    def bind(self, request: Request, **options: Any) -> Binding:
        route = self._route(request)
        if route.nodes:
            return route.bind(request, **options)
        if self._chain is not None:
            raise DialFailed("the chain has no node to listen at", address=request.address)
        from gostpy.net.binding import bind_here

        return bind_here(request, self._sockets, **options)


class NoSuchName(DialFailed):
    """Hosts table and resolver have no address for the name; trying again would not help."""


def _with_address(request: Request, address: str) -> Request:
    if address == request.address:
        return request
    return Request(
        request.network,
        address,
        source=request.source,
        destination=request.destination,
        client_id=request.client_id,
        hash_source=request.hash_source,
        protocol=request.protocol,
        host=request.host or request.address,
        method=request.method,
        path=request.path,
        headers=request.headers,
        query=request.query,
    )
