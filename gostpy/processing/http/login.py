"""What the HTTP proxies read from a request's headers: credentials, and the hidden target."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from gostpy.errors import ProtocolError
from gostpy.wire.httptarget import decode_name

__all__ = ["basic_pair", "hidden_target"]


def basic_pair(text: str) -> tuple[str, str]:
    """User name and password of an Authorization value; both empty when there are none."""
    if not text.startswith("Basic "):
        return "", ""
    try:
        pair = base64.b64decode(text[6:], validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return "", ""
    username, colon, password = pair.partition(":")
    return (username, password) if colon else ("", "")


def hidden_target(fields: Mapping[str, str]) -> str:
    """The host in X-Gost-Target, else in Gost-Target; empty when there is no valid one.

    Args:    fields: headers by lower-case name.
    """
    for name in ("x-gost-target", "gost-target"):
        if name in fields:
            try:
                return decode_name(fields[name])
            except ProtocolError:
                continue
    return ""
