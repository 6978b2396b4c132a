"""Services from their configuration: guards, routers, handler, listener."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compat.build.logs import service_log
from compat.build.metadata import HandlerOptions, ServiceOptions
from compat.build.nodes import build_chain_group, build_forward_node, build_selector
from compat.build.parts import build_handler, build_listener, credentials
from compat.build.policies import authenticator
from compat.build.rules import admission_rule, hosts_and_resolver, service_bypass, together
from compat.build.skipauth import addresses, skipping_login
from compat.build.world import World
from compat.schema import ForwarderConfig, HandlerConfig, ListenerConfig, ServiceConfig
from gostpy.errors import ConfigError, LimitExceeded
from gostpy.guard.meter import Counter, Meter
from gostpy.guard.points import GuardPoints
from gostpy.interfaces import Context, Handler, Log
from gostpy.interfaces import Hop as HopLike
from gostpy.net.sockopt import SocketOptions
from gostpy.processing.context import HandlerContext
from gostpy.route.hop import Hop
from gostpy.route.router import Router
from gostpy.route.selector import Selector
from gostpy.service import Service

__all__ = ["build_services"]

STRICT_CUT = 10.0
"""Seconds after a half-close at which gost cuts a silent other side."""


def build_services(world: World) -> None:
    """Fill the runtime with services; nothing is bound yet. Raises ConfigError."""
    for index, config in enumerate(world.config.services or ()):
        if config is None:
            continue
        where = f"services[{index}]"
        name = config.name or f"service-{index}"
        if not config.name:
            if world.strict:
                world.warn(where, "a service without a name is never served")
                continue
            world.warn(where, f"the service has no name, calling it {name!r}")
        if name in world.runtime.services:
            raise ConfigError(f"there are two services named {name!r}", where)
        world.runtime.services[name] = _Builder(world, config, name, where).build()


class _Builder:
    """One service being built."""

    def __init__(self, world: World, config: ServiceConfig, name: str, where: str) -> None:
        self.world = world
        self.config = config
        self.name = name
        self.where = where
        self.handler = config.handler or HandlerConfig()
        self.listener = config.listener or ListenerConfig()
        self.options = world.options(
            ServiceOptions, config.metadata, f"{where}.metadata", scope=where
        )
        self.log = self._log()

    def _log(self) -> Log:
        config = self.config
        named = service_log(self.world, together(config.logger, config.loggers), self.where)
        return (named or self.world.log).bind(
            kind="service",
            service=self.name,
            handler=self.handler.type or "auto",
            listener=self.listener.type or "tcp",
        )

    def build(self) -> Service:
        world, where = self.world, self.where
        self._refuse_later()
        guards = self._guards()
        context = Context(
            address=self.config.addr,
            log=self.log,
            tls=world.server_tls(self.listener.tls),
            auth=credentials(self.listener.auth, f"{where}.listener.auth"),
            authenticate=authenticator(
                world,
                self.listener.auther,
                self.listener.authers,
                self.listener.auth,
                f"{where}.listener",
            ),
            router=self._router("listener"),
            sockets=SocketOptions(netns=self.options.netns),
            service=self.name,
            guards=guards,
            metadata=self.config.metadata or {},
            find=world.runtime.get,
            strict=world.strict,
        )
        listener, key = build_listener(
            world, self.listener, context, guards, f"{where}.listener", where
        )
        handler = self._handler()
        for part, metadata in (
            ("handler", self.handler.metadata),
            ("listener", self.listener.metadata),
            ("", self.config.metadata),
        ):
            world.leftover(where, metadata, f"{where}.{part}.metadata".replace("..", "."))
        service = Service(self.name, listener, handler, guards, self.log, key)
        service.hooks = {
            "preUp": self.options.pre_up,
            "postUp": self.options.post_up,
            "preDown": self.options.pre_down,
            "postDown": self.options.post_down,
        }
        return service

    def _refuse_later(self) -> None:
        config, where = self.config, self.where
        for field in ("observer", "rewriter", "cache"):
            if getattr(config, field):
                raise ConfigError(f"{field} is not supported yet", f"{where}.{field}")
        if self.handler.observer:
            raise ConfigError("observer is not supported yet", f"{where}.handler.observer")
        if config.recorders:
            raise ConfigError("recorders are not supported yet", f"{where}.recorders[0]")
        if config.quotas:
            raise ConfigError("quotas are not supported yet", f"{where}.quotas[0]")

    # -- guards ----------------------------------------------------------------------------------

    def _guards(self) -> GuardPoints:
        config = self.config
        acquire = []
        if config.climiter:
            acquire.append(self._connection_limit(config.climiter))
        counter = Counter() if self.options.enable_stats else None
        carrier, conn = self._meters(counter)
        return GuardPoints(
            admit=admission_rule(self.world, config.admission, config.admissions, self.where),
            acquire=acquire,
            carrier_meter=carrier,
            conn_meter=conn,
            proxy_protocol=self.options.proxy_protocol > 0,
        )

    def _connection_limit(self, name: str) -> Callable[[str], Callable[[], None] | None]:
        self.world.refer("climiter", name, f"{self.where}.climiter")
        find = self.world.runtime.holder("climiter", name)

        def acquire(ip: str) -> Callable[[], None] | None:
            limits = find()
            if limits is None:
                return (lambda: None) if self.world.strict else None
            release: Callable[[], None] | None = limits.acquire(ip)
            return release

        return acquire

    def _meters(
        self, counter: Counter | None
    ) -> tuple[Callable[[str], Meter | None] | None, Callable[[str], Meter | None] | None]:
        """Meters of service scope and of connection scope."""
        name = self.config.limiter
        if not name:
            return (lambda _: Meter(counter)) if counter is not None else None, None
        self.world.refer("limiter", name, f"{self.where}.limiter")
        find = self.world.runtime.holder("limiter", name)
        scope = self.options.limiter_scope

        def limits() -> Any:
            found = find()
            if found is None and not self.world.strict:
                raise LimitExceeded(f"limiter {name!r} does not exist")
            return found

        def carrier(ip: str) -> Meter | None:
            found = limits()
            buckets = found.service_buckets() if found is not None else None
            if not buckets:
                return Meter(counter) if counter is not None else None
            return Meter(counter, buckets.inbound, buckets.outbound)

        def conn(address: str) -> Meter | None:
            found = limits()
            ip = address.rpartition(":")[0].strip("[]")
            buckets = found.connection_buckets(ip) if found is not None else None
            return Meter(None, buckets.inbound, buckets.outbound) if buckets else None

        return (
            carrier if scope != "conn" or counter is not None else None,
            conn if scope != "service" else None,
        )

    # -- handler ---------------------------------------------------------------------------------

    def _handler(self) -> Handler:
        world, where = self.world, f"{self.where}.handler"
        name, metadata = self.handler.type or "auto", self.handler.metadata
        options = world.options(HandlerOptions, metadata, f"{where}.metadata", scope=self.where)

        def make(context: HandlerContext) -> Handler:
            made: Handler = build_handler(world, name, metadata, context, where, self.where)
            return made

        return skipping_login(make, self._handler_context(), addresses(options.skip_auth))

    def _handler_context(self) -> HandlerContext:
        world, where, config, handler = self.world, self.where, self.config, self.handler
        admit = self._request_limit(config.rlimiter) if config.rlimiter else None
        return HandlerContext(
            service=self.name,
            log=self.log.bind(kind="handler"),
            router=self._router("handler"),
            authenticate=authenticator(
                world, handler.auther, handler.authers, handler.auth, f"{where}.handler"
            ),
            auth=credentials(handler.auth, f"{where}.handler.auth"),
            tls=world.server_tls(handler.tls),
            bypassed=service_bypass(world, config.bypass, config.bypasses, where),
            admit_request=admit,
            hop=self._forwarder(config.forwarder),
            metadata=handler.metadata or {},
            sockets=SocketOptions(netns=self.options.netns),
            cut=STRICT_CUT if world.strict else 0.0,
            strict=world.strict,
        )

    def _request_limit(self, name: str) -> Callable[[str], bool]:
        self.world.refer("rlimiter", name, f"{self.where}.rlimiter")
        find = self.world.runtime.holder("rlimiter", name)

        def allow(ip: str) -> bool:
            limits = find()
            if limits is None:
                return self.world.strict
            return bool(limits.allow(ip))

        return allow

    def _forwarder(self, config: ForwarderConfig | None) -> HopLike | None:
        if config is None:
            return None
        where = f"{self.where}.forwarder"
        if config.hop_group is not None:
            raise ConfigError("hop groups are not supported yet", f"{where}.hopGroup")
        name = config.hop or config.name
        if name:
            self.world.refer("hop", name, f"{where}.hop")
            return _NamedHop(name, self.world.runtime.holder("hop", name))
        nodes = [
            build_forward_node(self.world, node, f"{where}.nodes[{index}]")
            for index, node in enumerate(config.nodes or ())
            if node is not None
        ]
        if not nodes:
            return None
        selector = build_selector(self.world, config.selector, f"{where}.selector")
        return Hop(f"{self.name}-forwarder", nodes, selector or Selector(), strict=True)

    # -- the way out -----------------------------------------------------------------------------

    def _router(self, side: str) -> Router:
        options, config = self.options, self.config
        part = self.handler if side == "handler" else self.listener
        chain = None
        if not options.ignore_chain:
            chain = build_chain_group(
                self.world, part.chain, part.chain_group, f"{self.where}.{side}.chain"
            )
        timeout = options.dial_timeout
        return Router(
            chain,
            resolve=hosts_and_resolver(self.world, config.hosts, config.resolver, self.where),
            attempts=1 + max(self.handler.retries, 0) if side == "handler" else 1,
            timeout=timeout if timeout > 0 else 0.0 if timeout < 0 else 15.0,
            sockets=SocketOptions(
                interface=options.interface or config.interface,
                mark=options.so_mark or (config.sockopts.mark if config.sockopts else 0),
                netns=options.netns_out,
            ),
        )


class _NamedHop:
    """A hop by name, looked up at each use."""

    def __init__(self, name: str, find: Callable[[], Hop | None]) -> None:
        self.name = name
        self._find = find

    def select(self, request: Any) -> Any:
        hop = self._find()
        return hop.select(request) if hop is not None else None
