"""rtcp, runix: listeners at the end of the chain.

The chain's last node is asked to listen (``Router.bind``) and hands over what arrives there;
without a chain the address is listened on here. Nothing is bound before the service runs: an owned
green thread binds, accepts, and when the node refuses or its session dies tries again after 1, 2, 4
and then every 5 seconds, as gost does. rudp binds in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gevent

from gostpy.errors import ConfigError, DialFailed, GostError
from gostpy.interfaces import Binding, Context, Request
from gostpy.net.dial import is_ip, resolve, split_address
from gostpy.wire.address import join_address

__all__ = ["Options", "RemoteCarrier", "RemoteListener", "StreamCarrier", "UnixCarrier"]

_DELAYS = (1.0, 2.0, 4.0, 5.0)


@dataclass(frozen=True)
class Options:
    """Options of rtcp and runix: none."""


class RemoteCarrier:
    """What rtcp, rudp and runix have in common."""

    network = ""

    def __init__(self, options: Any, context: Context) -> None:
        if context.router is None:
            raise ConfigError(f"r{self.network} needs a router", context.service)
        self.options = options
        self.context = context

    def listen(self, accepted: Callable[[Any, Any], None]) -> RemoteListener:
        """Raises ConfigError: the address cannot be one."""
        if self.network != "unix":
            try:
                split_address(self.context.address)
            except DialFailed as error:
                raise ConfigError(str(error), self.context.service) from error
        return RemoteListener(self, accepted)

    def bind(self) -> Binding:
        """Raises RouteError, Unsupported, OSError."""
        router = self.context.router
        assert router is not None
        address = self.context.address
        if self.network != "unix":
            address = _resolved(address)
        return router.bind(Request(self.network, address), **self.bind_options())

    def bind_options(self) -> dict[str, Any]:
        """What ``Router.bind`` is told besides the address."""
        return {}


class StreamCarrier(RemoteCarrier):
    """rtcp."""

    network = "tcp"

    def bind_options(self) -> dict[str, Any]:
        return {"mux": True}


class UnixCarrier(RemoteCarrier):
    """runix (gost 3.3)."""

    network = "unix"


def _resolved(address: str) -> str:
    """The address as gost asks for it: a name that is known here by its IP, others as they are."""
    host, port = split_address(address)
    if not host or is_ip(host):
        return address
    try:
        return join_address(resolve(host, port)[0][1][0], port)
    except DialFailed:
        return address


class RemoteListener:
    """A listening point that is kept bound.

    Attributes:
        failed: the last attempt to bind or accept failed, and none has succeeded since.
    """

    def __init__(self, carrier: RemoteCarrier, accepted: Callable[[Any, Any], None]) -> None:
        self.failed = False
        self._carrier = carrier
        self._accepted = accepted
        self._binding: Binding | None = None
        self._closed = False
        self._loop: Any = None

    @property
    def address(self) -> Any:
        """As configured; what a node made of it, once it is bound."""
        return self._binding.address if self._binding is not None else self._carrier.context.address

    def start(self) -> None:
        if self._loop is None and not self._closed:
            self._loop = gevent.spawn(self._run)

    def close(self) -> None:
        self._closed = True
        binding, self._binding = self._binding, None
        if binding is not None:
            binding.close()
        if self._loop is not None:
            self._loop.kill(block=False)

    def _run(self) -> None:
        attempt = 0
        while True:
            try:
                self._binding = self._carrier.bind()
                if self.failed:
                    self.failed = False
                    self._carrier.context.log.info("bound again")
                attempt = 0
                self._accept(self._binding)
            except (GostError, OSError) as error:
                if self._closed:
                    break
                self._lost(error, _DELAYS[min(attempt, len(_DELAYS) - 1)])
                attempt += 1

    def _accept(self, binding: Binding) -> None:
        """Accept until the binding is gone. Raises what it says then."""
        while True:
            self._accepted(binding.accept(), None)

    def _lost(self, error: Exception, delay: float) -> None:
        self.failed = True
        binding, self._binding = self._binding, None
        if binding is not None:
            binding.close()
        message = str(error) or type(error).__name__
        self._carrier.context.log.warn(f"accept: {message}, retrying in {delay:g}s")
        gevent.sleep(delay)
