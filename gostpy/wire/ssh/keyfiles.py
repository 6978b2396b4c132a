"""Files of public keys: ``authorized_keys`` of a server, ``known_hosts`` of a client.

authorized_keys   [options] TYPE BASE64 [comment]; options are not looked at, as in gost
known_hosts       [@marker] HOSTS TYPE BASE64 [comment]; HOSTS are patterns with commas between, or
                  ``|1|SALT|HMAC-SHA1``; a port other than 22 is ``[host]:port``
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import pairwise

from gostpy.errors import ConfigError, HandshakeFailed, ProtocolError
from gostpy.wire.ssh.fields import Fields

__all__ = ["KnownHosts", "read_authorized_keys"]


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words


def _key(words: list[str]) -> bytes | None:
    """The first pair of words that is a type and a key of it."""
    for kind, encoded in pairwise(words):
        try:
            blob = base64.b64decode(encoded, validate=True)
            if Fields(blob).text() == kind:
                return blob
        except (binascii.Error, ProtocolError):
            continue
    return None


def read_authorized_keys(text: str) -> frozenset[bytes]:
    """Public keys as on the wire. Raises ConfigError naming the line that is none."""
    found = set()
    for number, words in _lines(text):
        key = _key(words)
        if key is None:
            raise ConfigError(f"line {number} is not a public key")
        found.add(key)
    return frozenset(found)


class KnownHosts:
    """Which keys a host may have. Raises ConfigError: a line is not understood."""

    def __init__(self, text: str) -> None:
        self._entries: list[tuple[str, str, bytes]] = []  # marker, hosts, key
        for number, words in _lines(text):
            marker = words.pop(0) if words[0].startswith("@") else ""
            key = _key(words[1:3])
            if key is None:
                raise ConfigError(f"line {number} is not a known host")
            self._entries.append((marker, words[0], key))

    def keys(self, host: str, port: int) -> list[bytes]:
        """Keys that the host may have."""
        return [
            key for marker, hosts, key in self._entries if not marker and _is_for(hosts, host, port)
        ]

    def check(self, host: str, port: int, key: bytes) -> None:
        """Raises HandshakeFailed: the host is not known, or by another key."""
        name = f"{host}:{port}"
        for marker, hosts, revoked in self._entries:
            if marker == "@revoked" and revoked == key and _is_for(hosts, host, port):
                raise HandshakeFailed(f"the SSH host key of {name} is revoked")
        known = self.keys(host, port)
        if not known:
            raise HandshakeFailed(f"SSH host {name} is not among the known hosts")
        if key not in known:
            raise HandshakeFailed(
                f"the SSH host key of {name} is not the known one: "
                "somebody may be listening in, or the host has a new key"
            )


def _is_for(hosts: str, host: str, port: int) -> bool:
    """Whether a field of hosts means this one."""
    name = host.lower() if port == 22 else f"[{host.lower()}]:{port}"
    if hosts.startswith("|1|"):
        return _is_hash_of(hosts, name)
    found = False
    for pattern in hosts.lower().split(","):
        wanted = pattern.removeprefix("!").replace("[", "[[]")
        if fnmatchcase(name, wanted):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _is_hash_of(hashed: str, name: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part) for part in hashed.split("|")[2:4])
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)
