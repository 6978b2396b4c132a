"""Keeping secrets out of logs: user info and secret parameters of addresses become ``***``."""

from __future__ import annotations

import re

__all__ = ["MASK", "SECRET_FIELDS", "redact"]

MASK = "***"

SECRET_FIELDS = frozenset(
    {"auth", "password", "passwd", "pass", "passphrase", "secret", "token", "cipherkey", "psk"}
)
"""Names of fields and of query parameters (their last dotted part) whose values are not shown."""

_WORD = re.compile(r"[^\s<>]*")
_BARE = re.compile(r"(?<![^\s\"'(=])[^\s\"'()/@=]{1,256}:(?!//)[^\s\"'()@]{0,256}@(?=[^\s@])")
_PARAMETER = re.compile(r"([?&;])([A-Za-z0-9_.\-]+)=([^&;\s\"'<>]*)")
_HOST_PORT = re.compile(r"(\[[^\]]*\]|[^:]*)(:[0-9,\-]*)?[\"'),.;]*|[0-9A-Fa-f:.]+")


def redact(text: str) -> str:
    """``text`` with the secrets of every address in it masked.

    The whole user info goes, for in some schemes the name alone is the secret. An authority that
    cannot be host and port is taken for unescaped user info up to the last ``@``.
    """
    if "://" in text:
        first, *parts = text.split("://")
        text = "://".join([first, *map(_without_user, parts)])
    if "@" in text:
        text = _BARE.sub(f"{MASK}@", text)
    if "=" in text:
        text = _PARAMETER.sub(_parameter, text)
    return text


def _without_user(text: str) -> str:
    """``text`` follows a ``://``: mask the user info that it may begin with."""
    word = _WORD.match(text)
    rest = word[0] if word else ""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        end = authority.rindex("@")
    elif _HOST_PORT.fullmatch(authority):
        return text
    else:
        end = rest.rfind("@")
        if end < 0:
            return MASK + text[len(authority) :]
    return f"{MASK}{text[end:]}"


def _parameter(found: re.Match[str]) -> str:
    name = found[2].rpartition(".")[2].lower()
    return f"{found[1]}{found[2]}={MASK}" if name in SECRET_FIELDS else found[0]
