"""Shadowsocks without sockets: methods and keys, stream codecs, packet codecs.

``client_stream`` and ``server_stream`` give the codec of an edition; what a server's codec decodes
begins with the encoded target in every one of them.
"""

from __future__ import annotations

import os

from gostpy.wire.codec import Codec
from gostpy.wire.shadowsocks.identity import User, Users, users_of
from gostpy.wire.shadowsocks.methods import METHODS, Method, Secret, secret
from gostpy.wire.shadowsocks.packet import ClientPackets, PacketSession, ServerPackets
from gostpy.wire.shadowsocks.packet2022 import ClientPackets2022, ServerPackets2022
from gostpy.wire.shadowsocks.plain import PlainClient, PlainServer
from gostpy.wire.shadowsocks.salts import SaltFilter
from gostpy.wire.shadowsocks.stream import StreamCodec
from gostpy.wire.shadowsocks.stream2022 import ClientStream, ServerStream

__all__ = [
    "METHODS",
    "ClientPackets",
    "ClientPackets2022",
    "Method",
    "PacketSession",
    "SaltFilter",
    "Secret",
    "ServerPackets",
    "ServerPackets2022",
    "ServerStream",
    "User",
    "Users",
    "client_stream",
    "secret",
    "server_stream",
    "unlike_target",
    "users_of",
]


def client_stream(secret: Secret, lead: bytes, salts: SaltFilter, framed: bool = False) -> Codec:
    """A client's codec for one stream.

    Args:
        lead: the encoded target.
        framed: of method none: gost's form.
    """
    if secret.method.edition == "2022":
        return ClientStream(secret, lead)
    if secret.method.edition == "none":
        if framed or secret.method.framed:
            return StreamCodec(secret, lead, salts, unlike_target)
        return PlainClient(lead)
    return StreamCodec(secret, lead, salts)


def server_stream(secret: Secret, users: Users, salts: SaltFilter) -> Codec:
    """A server's codec for one stream."""
    if secret.method.edition == "2022":
        return ServerStream(secret, users, salts)
    if secret.method.edition == "none" and not secret.method.framed:
        return PlainServer(secret)
    return StreamCodec(secret, b"", salts)


def unlike_target(size: int) -> bytes:
    """A salt for gost's form of method none that cannot be taken for a target."""
    return b"\xff" + os.urandom(size - 1)
