"""Keys of an SSH agent, asked over its Unix socket (``SSH_AUTH_SOCK``).

Wire      LENGTH(4) | TYPE(1) | fields; 11 asks for the keys, 12 lists them: count, then string key
          and string comment each; 13 asks for a signature: string key | string data | flags(4);
          14 has it
Source    draft-miller-ssh-agent
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

from gostpy.errors import GostError, ProtocolError
from gostpy.net.conn import Conn
from gostpy.net.dial import dial_unix
from gostpy.wire.ssh.fields import Fields, string, uint32
from gostpy.wire.ssh.keys import Signer

__all__ = ["agent_signers"]

_TIMEOUT = 5.0
_LARGEST = 256 * 1024
_MOST_KEYS = 64
_FLAGS = {"rsa-sha2-256": 2, "rsa-sha2-512": 4}


def agent_signers() -> Iterator[Signer]:
    """The keys of the running agent; none without one, or if it cannot be asked."""
    path = os.environ.get("SSH_AUTH_SOCK")
    if not path:
        return
    try:
        conn = dial_unix(path, timeout=_TIMEOUT)
    except GostError:  # as in gost: an agent is used if there is one
        return
    conn.settimeout(_TIMEOUT)
    try:
        try:
            fields = _ask(conn, 11, b"", 12)
            keys = []
            for _ in range(min(fields.uint32(), _MOST_KEYS)):
                keys.append(fields.string())
                fields.string()
        except (GostError, OSError):
            return
        for key in keys:
            yield Signer(key, partial(_sign, conn, key))
    finally:
        conn.close()


def _sign(conn: Conn, key: bytes, algorithm: str, data: bytes) -> bytes:
    flags = uint32(_FLAGS.get(algorithm, 0))
    return _ask(conn, 13, string(key) + string(data) + flags, 14).string()


def _ask(conn: Conn, kind: int, fields: bytes, expected: int) -> Fields:
    """The fields of the answer. Raises ProtocolError, OSError."""
    conn.sendall(string(bytes((kind,)) + fields))
    size = int.from_bytes(conn.read_exact(4), "big")
    if not 1 <= size <= _LARGEST:
        raise ProtocolError(f"SSH agent answers with {size} bytes")
    answer = Fields(conn.read_exact(size))
    if answer.byte() != expected:
        raise ProtocolError("SSH agent refused")
    return answer
