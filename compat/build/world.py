"""One configuration being built: the runtime it fills, the warnings it gives, the mode it obeys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from compat.schema import Config, TLSConfig
from gostpy.interfaces import Log, TLSSettings
from gostpy.options import Problem, options_of, parse
from gostpy.runtime import Runtime
from gostpy.stream.certificates import common_settings, server_settings

if TYPE_CHECKING:
    from compat.build.logs import Outputs

__all__ = ["World", "build"]

T = TypeVar("T")

_CLOSED = frozenset(
    ["auther", "admission", "bypass", "limiter", "climiter", "rlimiter", "hop", "chain"]
)
"""Kinds of objects without which nothing passes that refers to them."""


@dataclass(slots=True)
class World:
    """What all builders share.

    Attributes:
        strict: gost's own behaviour where a working config could depend on it.
        warnings: (path inside the config, message).
    """

    config: Config
    log: Log
    strict: bool = False
    runtime: Runtime = field(default_factory=Runtime)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    _known: dict[str, dict[str, str]] = field(default_factory=dict)
    _references: list[tuple[str, str, str]] = field(default_factory=list)
    _common_tls: TLSSettings | None = None

    def warn(self, where: str, message: str) -> None:
        if (where, message) not in self.warnings:
            self.warnings.append((where, message))

    def options(
        self,
        cls: type[T],
        metadata: Mapping[str, Any] | None,
        where: str,
        *,
        scope: str = "",
        **differing: Any,
    ) -> T:
        """Parse options and note unusable values. Unknown keys are told later, see ``leftover``.

        Args:
            scope: parts of one service or node share their keys under this name.
        """
        problems: list[Problem] = []
        made = parse(cls, metadata, strict=self.strict, problems=problems, **differing)
        spellings = differing.get("keys") or {}
        known = self._known.setdefault(scope or where, {})  # as compared -> as written
        for name, option in options_of(cls).items():
            known.update((key.lower(), key) for key in spellings.get(name, option.keys))
        for problem in problems:
            if problem.message != "unknown option":
                self.warn(f"{where}.{problem.key}", problem.message)
        return made

    def leftover(self, scope: str, metadata: Mapping[str, Any] | None, where: str) -> None:
        """Warn of keys that no part of the scope owns."""
        if self.strict:
            return
        known = self._known.get(scope, {})
        for key in metadata or {}:
            if str(key).lower() not in known:
                self.warn(f"{where}.{key}", f"unknown option{_nearest(str(key), known)}")

    def refer(self, kind: str, name: str, where: str) -> None:
        """Something refers to an object by name; a remark follows if there is none in the end."""
        self._references.append((kind, name, where))

    def check_references(self) -> None:
        """Tell which references name nothing (yet), and what follows from that."""
        for kind, name, where in self._references:
            if self.runtime.get(kind, name) is not None:
                continue
            closed = kind == "admission" or (kind in _CLOSED and not self.strict)
            effect = "what needs it is refused" if closed else "it is ignored"
            self.warn(where, f"there is no {kind} named {name!r}; {effect} until there is one")

    def tls(self, config: TLSConfig | None) -> TLSSettings | None:
        """Settings of a ``tls`` block."""
        if config is None:
            return None
        options = config.options
        return TLSSettings(
            cert_file=config.cert_file,
            key_file=config.key_file,
            ca_file=config.ca_file,
            secure=config.secure,
            server_name=config.server_name,
            min_version=options.min_version if options else "",
            max_version=options.max_version if options else "",
            cipher_suites=tuple(options.cipher_suites or ()) if options else (),
            alpn=tuple(options.alpn or ()) if options else (),
            reject_unknown_names=config.reject_unknown_sni,
            server_names=tuple(config.server_names or ()),
            validity=config.validity.seconds if config.validity else 0.0,
            common_name=config.common_name,
            organization=config.organization,
        )

    def server_tls(self, config: TLSConfig | None) -> TLSSettings:
        """TLS settings of a listener or handler: its own, else what is common to all."""
        if self._common_tls is None:
            self._common_tls = common_settings(
                self.tls(self.config.tls), lambda message: self.warn("tls", message)
            )
        return server_settings(self.tls(config), self._common_tls)


def _nearest(key: str, known: Mapping[str, str]) -> str:
    import difflib

    close = difflib.get_close_matches(key.lower(), known, 1)
    return f", did you mean {known[close[0]]!r}?" if close else ""


def build(config: Config, log: Log, outputs: Outputs, *, strict: bool = False) -> World:
    """Make the live objects of a configuration; nothing is bound or started yet.

    Args:
        outputs: where named logs are written to.

    Raises ConfigError naming the place.
    """
    from compat.build import logs, nodes, policies, services

    world = World(config, log, strict)
    logs.build_loggers(world, config, outputs)
    policies.build_policies(world)
    nodes.build_ways(world)
    services.build_services(world)
    world.check_references()
    return world
