"""What tun nodes say to each other besides bare IP packets: who has which addresses.

Wire      registration, client to server:   "GOST" | passphrase(16, zero padded) | IP(16) x n, n > 0
          acknowledgement, server to client: "GOST" | IP(16) of the client as the server sees it
          IPv4 addresses are IPv4-mapped. "GOST" could begin an IPv4 packet, of 21332 bytes and
          with eight bytes of options: what looks like a registration is taken for one.
Source    go-gost/x handler/tun
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from gostpy.errors import ProtocolError
from gostpy.wire.codec import Buffer
from gostpy.wire.ip import packed_address

__all__ = ["HEADER", "Registration", "acknowledgement", "is_acknowledgement", "is_registration"]

MAGIC = b"GOST"
HEADER = 20
MOST_ADDRESSES = 256
"""Addresses of one client; gost has no limit."""


def is_registration(data: Buffer) -> bool:
    return data[:4] == MAGIC and len(data) > HEADER


def is_acknowledgement(data: Buffer) -> bool:
    return len(data) == HEADER and data[:4] == MAGIC


@dataclass(frozen=True, slots=True)
class Registration:
    """A client's addresses inside the tunnel.

    Attributes:
        passphrase: at most 16 bytes; what is longer is cut, as in gost.
        addresses: packed, 4 or 16 bytes.
    """

    passphrase: bytes
    addresses: tuple[bytes, ...]

    def __repr__(self) -> str:  # passphrases stay out of logs
        return f"Registration(..., {self.addresses!r})"

    def encode(self) -> bytes:
        key = self.passphrase[:16].ljust(16, b"\0")
        return MAGIC + key + b"".join(_wide(address) for address in self.addresses)

    @classmethod
    def read(cls, data: bytes) -> Registration:
        """Raises ProtocolError."""
        count, rest = divmod(len(data) - HEADER, 16)
        if data[:4] != MAGIC or rest or not 0 < count <= MOST_ADDRESSES:
            raise ProtocolError(f"registration of {len(data)} bytes")
        found = [packed_address(data[start : start + 16]) for start in range(HEADER, len(data), 16)]
        return cls(data[4:HEADER].rstrip(b"\0"), tuple(found))


def acknowledgement(host: str) -> bytes:
    """For a client whose datagrams come from the IP ``host``. Raises ValueError: no IP."""
    return MAGIC + _wide(ipaddress.ip_address(host.partition("%")[0]).packed)


def _wide(address: bytes) -> bytes:
    return address if len(address) == 16 else bytes(10) + b"\xff\xff" + address
