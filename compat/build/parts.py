"""Listeners, dialers, handlers and connectors: their options, their parts, their context."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from compat.build.world import World
from compat.schema import AuthConfig, ListenerConfig, NodeConfig
from gostpy.channel.dialer import StackDialer
from gostpy.channel.listener import HANDSHAKE_TIMEOUT, StackListener
from gostpy.channel.stacks import Stack, part, part_options, stack
from gostpy.errors import ConfigError
from gostpy.interfaces import Context, Credentials, Guards
from gostpy.net.dial import is_ip, split_address
from gostpy.net.sockopt import SocketOptions
from gostpy.registry import component

__all__ = [
    "build_connector",
    "build_dialer",
    "build_handler",
    "build_listener",
    "credentials",
    "side_options",
]


def credentials(config: AuthConfig | None, where: str) -> Credentials:
    """Client-side credentials; the first line of ``file`` replaces user and password.

    Raises ConfigError: the file cannot be read.
    """
    if config is None:
        return Credentials()
    if config.file:
        try:
            with open(config.file, encoding="utf-8") as lines:
                words = lines.readline().split(None, 1)
        except OSError as error:
            raise ConfigError(f"cannot read {config.file}: {error.strerror}", where) from error
        if words:
            return Credentials(words[0], words[1].strip() if len(words) > 1 else "")
    return Credentials(config.username, config.password)


def _stack_parts(
    world: World, row: Stack, metadata: Mapping[str, Any] | None, where: str, scope: str, side: bool
) -> list[tuple[str, Any]]:
    """(part name, options) of a stack, in order."""
    return [
        (
            name,
            world.options(
                part_options(name, side),
                metadata,
                f"{where}.metadata",
                scope=scope,
                defaults=row.defaults,
                keys=row.keys,
            ),
        )
        for name in row.parts
    ]


def build_listener(
    world: World,
    config: ListenerConfig,
    context: Context,
    guards: Guards,
    where: str,
    scope: str,
) -> tuple[StackListener, Any]:
    """(listener, key): services whose keys are equal can keep the bound socket on reload."""
    name = config.type or "tcp"
    row = stack("listener", name, f"{where}.type")
    parts = _stack_parts(world, row, config.metadata, where, scope, True)
    context = dataclasses.replace(context, listening=True)
    made = _make(parts, context, where)
    carrier, layers, mux = _split(row, made)
    limit = max((getattr(options, "handshake_timeout", 0.0) for _, options in parts), default=0.0)
    listener = StackListener(carrier, layers, mux, guards, context, limit or HANDSHAKE_TIMEOUT)
    frozen = tuple((part_name, repr(options)) for part_name, options in parts)
    return listener, (name, context.address, frozen, context.tls, context.sockets)


def build_dialer(
    world: World, config: NodeConfig, sockets: SocketOptions, where: str, scope: str
) -> StackDialer:
    """The data channel of a node. Raises ConfigError."""
    dialer = config.dialer
    name = (dialer.type if dialer is not None else "") or "tcp"
    row = stack("dialer", name, f"{where}.dialer.type")
    metadata = dialer.metadata if dialer is not None else None
    place = f"{where}.dialer"
    parts = _stack_parts(world, row, metadata, place, scope, False)
    context = Context(
        address=config.addr,
        log=world.log.bind(kind="dialer", dialer=name, node=config.name),
        tls=world.tls(dialer.tls if dialer is not None else None),
        auth=credentials(dialer.auth if dialer is not None else None, f"{place}.auth"),
        sockets=sockets,
        node=config.name,
        metadata=config.metadata or {},
        strict=world.strict,
    )
    context.tls = _with_server_name(context, config.addr)
    carrier, layers, mux = _split(row, _make(parts, context, place))
    limit = max((getattr(options, "handshake_timeout", 0.0) for _, options in parts), default=0.0)
    return StackDialer(carrier, layers, mux, context, limit or HANDSHAKE_TIMEOUT)


def _with_server_name(context: Context, address: str) -> Any:
    """TLS settings of a client side: the name defaults to the node's host."""
    from gostpy.interfaces import TLSSettings

    settings = context.tls or TLSSettings()
    if settings.server_name or not address:
        return settings
    host, _ = split_address(address)
    return dataclasses.replace(settings, server_name="" if is_ip(host) else host)


def _make(parts: list[tuple[str, Any]], context: Context, where: str) -> list[Any]:
    made = []
    for name, options in parts:
        try:
            made.append(part(name)(options, context))
        except ConfigError as error:
            if not error.where:
                error.where = where
            raise
    return made


def _split(row: Stack, made: list[Any]) -> tuple[Any, list[Any], Any]:
    mux = made[-1] if row.mux else None
    return made[0], made[1 : 1 + len(row.layers)], mux


def side_options(kind: str, cls: type) -> Any:
    """The options class of a handler or connector: ``HandlerOptions``, else ``Options``."""
    module = importlib.import_module(cls.__module__)
    own = getattr(cls, "options", None)
    if isinstance(own, type):
        return own
    side = {"handler": "HandlerOptions", "connector": "ConnectorOptions"}[kind]
    found = getattr(module, side, None) or getattr(module, "Options", None)
    if found is None:
        package = importlib.import_module(cls.__module__.rpartition(".")[0])
        found = getattr(package, side, None) or package.Options
    return found


def build_handler(
    world: World,
    name: str,
    metadata: Mapping[str, Any] | None,
    context: Any,
    where: str,
    scope: str,
) -> Any:
    """A handler. Raises ConfigError."""
    cls = component("handler", name, f"{where}.type")
    options = world.options(
        side_options("handler", cls), metadata, f"{where}.metadata", scope=scope
    )
    try:
        return cls(options, context)
    except ConfigError as error:
        raise _inside(error, where) from error.__cause__


def build_connector(
    world: World, config: NodeConfig, sockets: SocketOptions, where: str, scope: str
) -> Any:
    """The data processing of a node. Raises ConfigError."""
    connector = config.connector
    name = (connector.type if connector is not None else "") or "http"
    place = f"{where}.connector"
    cls = component("connector", name, f"{place}.type")
    metadata = connector.metadata if connector is not None else None
    options = world.options(
        side_options("connector", cls), metadata, f"{place}.metadata", scope=scope
    )
    context = Context(
        address=config.addr,
        log=world.log.bind(kind="connector", connector=name, node=config.name),
        tls=world.tls(connector.tls if connector is not None else None),
        auth=credentials(connector.auth if connector is not None else None, f"{place}.auth"),
        sockets=sockets,
        node=config.name,
        metadata=config.metadata or {},
    )
    context.tls = _with_server_name(context, config.addr)
    try:
        return cls(options, context)
    except ConfigError as error:
        raise _inside(error, place) from error.__cause__


def _inside(error: ConfigError, where: str) -> ConfigError:
    """The error with the whole path: parts know theirs from themselves on (``auth``)."""
    if not error.where.startswith(where):
        error.where = f"{where}.{error.where}" if error.where else where
    return error
