"""The ``http`` block of a forwarder node: what happens to requests and responses of sniffed HTTP.

auth            Basic login on ``Authorization``
host            replaces the Host header
requestHeader   lines set on the request, responseHeader on the response
rewriteURL      the first expression that matches the path replaces what it matches
rewriteBody     every expression whose media type fits changes the response's body

Expressions are Go's; replacements know ``$1``, ``${1}``, ``$name`` and ``$$``. A path longer than
8 KiB is not rewritten but refused, since ``re`` could be made slow by it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote, unquote_to_bytes

from gostpy.errors import ConfigError, ProtocolError
from gostpy.interfaces import Credentials
from gostpy.wire.http1 import RequestHead, ResponseHead

__all__ = ["NodeRules", "decoded_path", "expand", "rules_of"]

_GROUP = re.compile(r"\$(?:\$|([A-Za-z0-9_]+)|\{([A-Za-z0-9_]+)\})")
_SAFE = "/!$&'()*+,;=:@-._~%"
_MOST_PATH = 8192


class Settings(Protocol):
    """The block as configured; see route/node.py."""

    @property
    def host(self) -> str: ...
    @property
    def request_header(self) -> Mapping[str, str]: ...
    @property
    def response_header(self) -> Mapping[str, str]: ...
    @property
    def rewrite_url(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def rewrite_body(self) -> tuple[tuple[str, str, str], ...]: ...
    @property
    def auth(self) -> Credentials: ...


def compile_go(pattern: str) -> re.Pattern[str]:
    """A Go expression for ``re``. Raises ConfigError: it is none."""
    text = pattern.replace(r"\z", r"\Z").replace("(?<", "(?P<")
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigError(f"expression {pattern!r}: {error}") from error


def expand(match: re.Match[str], replacement: str) -> str:
    """Go's expansion of a replacement; an unknown group is empty."""

    def group(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if not name:
            return "$"
        try:
            return match[int(name) if name.isdigit() else name] or ""
        except IndexError:
            return ""

    return _GROUP.sub(group, replacement)


class NodeRules:
    """A node's block, its expressions compiled. Raises ConfigError."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url = [(compile_go(p), replacement) for p, replacement in settings.rewrite_url]
        self._body = [
            (kind or "text/html", compile_go(p), replacement)
            for kind, p, replacement in settings.rewrite_body
        ]

    def admits(self, head: RequestHead) -> bool:
        """Whether the request's Basic credentials are those of the node."""
        auth = self._settings.auth
        if not auth:
            return True
        scheme, _, text = head.get("authorization").partition(" ")
        try:
            given = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return False
        wanted = f"{auth.username}:{auth.password}".encode()
        return scheme.lower() == "basic" and hmac.compare_digest(given, wanted)

    def edit_request(self, head: RequestHead) -> None:
        """Raises ProtocolError: the path cannot be rewritten."""
        settings = self._settings
        if settings.host:
            head.set("Host", settings.host)
        for name, value in settings.request_header.items():
            head.set(name, str(value))
        if not self._url:
            return
        target, mark, query = head.path.partition("?")
        path = decoded_path(target)
        if len(path) > _MOST_PATH:
            raise ProtocolError(f"path of {len(path)} characters is too long to be rewritten")
        for pattern, replacement in self._url:
            if pattern.search(path):
                changed = pattern.sub(lambda m, r=replacement: expand(m, r), path)  # type: ignore[misc]
                if changed:
                    head.target = head.path = _encoded_path(changed) + mark + query
                    return

    def edit_response(self, head: ResponseHead) -> Callable[[bytes], bytes] | None:
        """Set lines; returns what changes the body, None when nothing does."""
        for name, value in self._settings.response_header.items():
            head.set(name, str(value))
        if not self._body or head.get("content-encoding"):
            return None
        media = head.get("content-type").partition(";")[0]
        fitting = [rule for rule in self._body if rule[0] == "*" or media in rule[0]]
        if not fitting:
            return None

        def rewrite(body: bytes) -> bytes:
            coding = "utf-8" if _is_utf8(body) else "latin-1"
            text = body.decode(coding)
            for _, pattern, replacement in fitting:
                text = pattern.sub(lambda m, r=replacement: expand(m, r), text)  # type: ignore[misc]
            return text.encode(coding, "replace")

        return rewrite


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def decoded_path(path: str) -> str:
    """The path as rules see it: percent encoding undone."""
    return unquote_to_bytes(path.encode("latin-1", "replace")).decode("utf-8", "surrogateescape")


def _encoded_path(path: str) -> str:
    return quote(path.encode("utf-8", "surrogateescape"), _SAFE.replace("%", ""))


_compiled: dict[int, tuple[Any, NodeRules]] = {}


def rules_of(node: Any) -> NodeRules | None:
    """The rules of a node, compiled once as long as it is in use; None without an http block."""
    settings = getattr(node, "http", None)
    if settings is None:
        return None
    known = _compiled.get(id(settings))
    if known is None or known[0] is not settings:
        if len(_compiled) >= 1024:
            _compiled.clear()
        known = _compiled[id(settings)] = (settings, NodeRules(settings))
    return known[1]
