"""Messages above the transport: services, login (RFC 4252) and channels (RFC 4254).

5 SERVICE_REQUEST, 6 SERVICE_ACCEPT   string service
50 USERAUTH_REQUEST   string user | string service | string method | what the method needs
51 USERAUTH_FAILURE   names that can continue | boolean partial success
52 USERAUTH_SUCCESS   53 USERAUTH_BANNER   60 PK_OK: string algorithm | string key
80 GLOBAL_REQUEST     string name | boolean want reply | its fields
81 REQUEST_SUCCESS    its fields          82 REQUEST_FAILURE
90 CHANNEL_OPEN       string type | sender | window | packet size | its fields
91 OPEN_CONFIRMATION  recipient | sender | window | packet size
92 OPEN_FAILURE       recipient | reason | string text | string language
93 WINDOW_ADJUST      recipient | bytes   94 DATA recipient | string
95 EXTENDED_DATA      recipient | type | string
96 EOF, 97 CLOSE      recipient           98 CHANNEL_REQUEST recipient | string | want reply
99 CHANNEL_SUCCESS, 100 CHANNEL_FAILURE   recipient
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from gostpy.wire.ssh.fields import Fields, names, string, uint32

__all__ = [
    "ADJUST",
    "CONNECTION",
    "DATA_HEAD",
    "Message",
    "Open",
    "OpenReason",
    "Target",
    "failure",
    "global_request",
    "open_confirmation",
    "open_failure",
    "signed_request",
]


class Message(IntEnum):
    """Numbers of the messages."""

    SERVICE_REQUEST = 5
    SERVICE_ACCEPT = 6
    USERAUTH_REQUEST = 50
    USERAUTH_FAILURE = 51
    USERAUTH_SUCCESS = 52
    USERAUTH_BANNER = 53
    USERAUTH_PK_OK = 60
    GLOBAL_REQUEST = 80
    REQUEST_SUCCESS = 81
    REQUEST_FAILURE = 82
    CHANNEL_OPEN = 90
    OPEN_CONFIRMATION = 91
    OPEN_FAILURE = 92
    WINDOW_ADJUST = 93
    DATA = 94
    EXTENDED_DATA = 95
    EOF = 96
    CLOSE = 97
    CHANNEL_REQUEST = 98
    CHANNEL_SUCCESS = 99
    CHANNEL_FAILURE = 100


class OpenReason(IntEnum):
    """Why a channel is not opened."""

    PROHIBITED = 1
    CONNECT_FAILED = 2
    UNKNOWN_TYPE = 3
    SHORTAGE = 4


CONNECTION = b"ssh-connection"
"""The service that users log in to."""

DATA_HEAD = struct.Struct(">BII")
"""DATA: number, recipient, size."""

ADJUST = struct.Struct(">BII")
"""WINDOW_ADJUST: number, recipient, bytes."""

_CONFIRMATION = struct.Struct(">BIIII")


def failure(methods: tuple[str, ...]) -> bytes:
    """A login was refused; these methods can be tried."""
    return bytes((Message.USERAUTH_FAILURE,)) + names(methods) + b"\0"


def signed_request(user: str, algorithm: str, public: bytes) -> bytes:
    """A publickey request up to its signature, which is over the session id and this."""
    start = bytes((Message.USERAUTH_REQUEST,)) + string(user) + string(CONNECTION)
    return start + string("publickey") + b"\1" + string(algorithm) + string(public)


def global_request(name: str, want_reply: bool, fields: bytes = b"") -> bytes:
    return bytes((Message.GLOBAL_REQUEST,)) + string(name) + bytes((want_reply,)) + fields


def open_confirmation(recipient: int, sender: int, window: int, packet: int) -> bytes:
    return _CONFIRMATION.pack(Message.OPEN_CONFIRMATION, recipient, sender, window, packet)


def open_failure(recipient: int, reason: int, text: str) -> bytes:
    start = bytes((Message.OPEN_FAILURE,)) + uint32(recipient) + uint32(reason)
    return start + string(text[:200]) + string("")


@dataclass(frozen=True, slots=True)
class Open:
    """A side asks for a channel; ``fields`` are those of its type."""

    kind: str
    sender: int
    window: int
    packet: int
    fields: bytes = b""

    def encode(self) -> bytes:
        numbers = uint32(self.sender) + uint32(self.window) + uint32(self.packet)
        return bytes((Message.CHANNEL_OPEN,)) + string(self.kind) + numbers + self.fields

    @classmethod
    def read(cls, fields: Fields) -> Open:
        return cls(fields.text(), fields.uint32(), fields.uint32(), fields.uint32(), fields.rest)


@dataclass(frozen=True, slots=True)
class Target:
    """Fields of direct-tcpip and forwarded-tcpip: where to (or where it was bound), where from."""

    host: str
    port: int
    from_host: str = ""
    from_port: int = 0

    def encode(self) -> bytes:
        end = string(self.from_host) + uint32(self.from_port)
        return string(self.host) + uint32(self.port) + end

    @classmethod
    def read(cls, data: bytes) -> Target:
        fields = Fields(data)
        return cls(fields.text(), fields.uint32(), fields.text(), fields.uint32())
