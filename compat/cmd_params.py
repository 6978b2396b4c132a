"""Query parameters of -L and -F, and the named lists that some of them create."""

from __future__ import annotations

import base64
import re
from typing import Any

from compat.schema import (
    AdmissionConfig,
    AuthConfig,
    BypassConfig,
    Config,
    HostMappingConfig,
    HostsConfig,
    LimiterConfig,
    NameserverConfig,
    ResolverConfig,
    SelectorConfig,
)
from compat.url import URL
from compat.values import Duration, atoi, float_plain, parse_bool, parse_duration
from gostpy.errors import ConfigError

__all__ = ["Lists", "Params", "credentials", "selector"]

_NUMBER = re.compile(r"[+-]?[0-9_.]+([eE][+-]?[0-9_]+)?|[+]?inf(inity)?", re.I)


class Params:
    """A map of parameters. Look-ups ignore case and see the map as it was when made; removal and
    prefixes are exact and change ``live``. Both as in gost, where ``?CERT=`` sets the
    certificate and also stays in the metadata."""

    def __init__(self, live: dict[str, Any]) -> None:
        self.live = live
        self._seen = {key.lower(): value for key, value in reversed(live.items())}

    def _first(self, keys: tuple[str, ...]) -> str:
        """Text of the first key that exists; the value of that key counts even if unusable."""
        value = next((self._seen[k.lower()] for k in keys if k.lower() in self._seen), "")
        if isinstance(value, str):
            return value
        return str(value) if isinstance(value, int) else ""

    def text(self, *keys: str) -> str:
        """Text, or an empty string."""
        return self._first(keys)

    def integer(self, *keys: str) -> int:
        """A whole number; 0 for anything else."""
        try:
            return atoi(self._first(keys))
        except ValueError:
            return 0

    def number(self, *keys: str) -> float:
        """A number; 0 for anything else."""
        text = self._first(keys)
        try:
            return float(text) if _NUMBER.fullmatch(text) else 0.0
        except ValueError:
            return 0.0

    def truth(self, *keys: str) -> bool:
        """One of Go's words for true."""
        try:
            return parse_bool(self._first(keys))
        except ValueError:
            return False

    def span(self, *keys: str) -> Duration:
        """A duration, or a number of seconds; 0 for anything else."""
        text = self._first(keys)
        try:
            return parse_duration(text) or Duration(0)
        except ValueError:
            return Duration(self.integer(*keys) * 1_000_000_000)

    def drop(self, *keys: str) -> None:
        """Remove keys from the live map, exactly as spelled."""
        for key in keys:
            self.live.pop(key, None)

    def move(self, key: str, to: str, value: Any) -> None:
        """Replace ``key`` by ``to`` when the value is not empty or zero."""
        if value:
            self.live[to] = value
            self.drop(key)


def selector(live: dict[str, Any]) -> SelectorConfig | None:
    """The selector that parameters ask for; its keys are removed when there is one."""
    params = Params(live)
    strategy = params.text("strategy")
    fails = params.integer("maxFails", "max_fails")
    timeout = params.span("failTimeout", "fail_timeout")
    if not strategy and fails <= 0 and timeout <= 0:
        return None
    params.drop("strategy", "maxFails", "max_fails", "failTimeout", "fail_timeout")
    return SelectorConfig(
        strategy=strategy or "round",
        max_fails=fails if fails > 0 else 1,
        fail_timeout=timeout if timeout > 0 else Duration.of(30),
    )


def user_info(url: URL, kind: str, *, strict: bool) -> AuthConfig | None:
    """User and password of a URL.

    Shadowsocks links may hold base64 of ``method:password`` (SIP002); 3.2.6 leaves it as it is.
    """
    if url.user is None:
        return None
    if kind in ("ss", "ssu") and url.password is None and not strict:
        try:
            plain = _base64(url.user, strict=False).decode("utf-8")
        except (ConfigError, UnicodeDecodeError):
            plain = ""
        method, colon, password = plain.partition(":")
        if colon and method.isprintable() and method:
            return AuthConfig(username=method, password=password)
    return AuthConfig(username=url.user, password=url.password or "")


def credentials(text: str, *, strict: bool) -> AuthConfig:
    """The value of ``auth=``: base64 of ``user[:password]``. Raises ConfigError."""
    plain = _base64(text, strict=strict).decode("utf-8", "surrogateescape")
    user, _, password = plain.partition(":")
    return AuthConfig(username=user, password=password)


def _base64(text: str, *, strict: bool) -> bytes:
    """Standard alphabet with padding; unless strict also URL-safe and without padding."""
    text = text.replace("\r", "").replace("\n", "")
    if not strict:
        text = text.replace("-", "+").replace("_", "/").rstrip("=")
        text += "=" * (-len(text) % 4)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ConfigError("auth= must be base64 of USER:PASSWORD") from None


class Lists:
    """Creates numbered bypasses, resolvers, limiters ... in a Config and hands out their names."""

    def __init__(self, config: Config, *, strict: bool) -> None:
        self.config = config
        self.strict = strict

    def _add(self, attribute: str, kind: str, item: Any) -> str:
        items = getattr(self.config, attribute)
        if items is None:
            items = []
            setattr(self.config, attribute, items)
        item.name = f"{kind}-{len(items)}"
        items.append(item)
        return str(item.name)

    def bypass(self, text: str) -> str:
        """From a comma list; a leading ``~`` makes it a whitelist."""
        whitelist, matchers = _matchers(text)
        item = BypassConfig(whitelist=whitelist, matchers=matchers)
        return self._add("bypasses", "bypass", item)

    def admission(self, text: str) -> str:
        """Like :meth:`bypass`."""
        whitelist, matchers = _matchers(text)
        item = AdmissionConfig(whitelist=whitelist, matchers=matchers)
        return self._add("admissions", "admission", item)

    def resolver(self, text: str, prefer: str = "") -> str:
        """From a comma list of name servers."""
        servers: list[NameserverConfig | None] = [
            NameserverConfig(addr=addr, prefer=prefer) for addr in text.split(",") if addr
        ]
        return self._add("resolvers", "resolver", ResolverConfig(nameservers=servers))

    def hosts(self, text: str) -> str:
        """From a comma list of ``NAME:IP``; items without a colon are skipped."""
        pairs = [item.partition(":") for item in text.split(",")]
        mappings: list[HostMappingConfig | None] = [
            HostMappingConfig(hostname=name, ip=ip) for name, colon, ip in pairs if colon
        ]
        return self._add("hosts", "hosts", HostsConfig(mappings=mappings))

    def traffic(self, lines: list[tuple[str, str, str]]) -> str:
        """From (key, in, out) with at least one of in and out.

        gost 3.2.6 writes nothing for a missing ``in`` and then reads ``out`` as ``in``; here an
        explicit zero keeps the direction.
        """
        empty = "" if self.strict else "0B"
        limits = [f"{key} {into or (empty if out else '')} {out}" for key, into, out in lines]
        return self._add("limiters", "limiter", LimiterConfig(limits=limits))

    def connections(self, count: int) -> str:
        """From a number of connections."""
        return self._add("climiters", "climiter", LimiterConfig(limits=[f"$ {count}"]))

    def rate(self, rate: float) -> str:
        """From a number of connections per second."""
        return self._add("rlimiters", "rlimiter", LimiterConfig(limits=[f"$ {float_plain(rate)}"]))


def _matchers(text: str) -> tuple[bool, list[str]]:
    whitelist = text.startswith("~")
    return whitelist, [item for item in text[whitelist:].split(",") if item]
