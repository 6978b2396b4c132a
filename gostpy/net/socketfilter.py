"""Socket filters (classic BPF) for TCP segments: what of them a socket gets to see."""

from __future__ import annotations

import _socket
import ctypes
import struct

__all__ = ["attach", "refuse_flags", "select_segments"]

_SO_ATTACH_FILTER = 26
_INSTRUCTION = struct.Struct("HBBI")  # code, jump if true, jump if false, operand

_LOAD_HALF, _LOAD_BYTE = 0x28, 0x30
_LOAD_HALF_AT_X, _LOAD_BYTE_AT_X = 0x48, 0x50
_X_IS_HEADER_LENGTH = 0xB1  # of the IPv4 header at the start
_JUMP_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x15, 0x45, 0x06
_ALL, _NOTHING = 0x40000, 0
_FLAGS = 13


def attach(sock: _socket.socket, program: bytes) -> None:
    """Let the socket see only what the program selects. Raises OSError."""
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("HL", len(program) // _INSTRUCTION.size, ctypes.addressof(code))
    sock.setsockopt(_socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def select_segments(family: int, port: int, flags: int, peer_port: int = 0) -> bytes:
    """For a raw TCP socket: segments to ``port`` (from ``peer_port``) with any of ``flags``."""
    ipv4 = family == _socket.AF_INET  # only its raw sockets show the IP header
    half = _LOAD_HALF_AT_X if ipv4 else _LOAD_HALF
    byte = _LOAD_BYTE_AT_X if ipv4 else _LOAD_BYTE
    tests = [(half, 2, _JUMP_EQUAL, port)]
    if peer_port:
        tests.append((half, 0, _JUMP_EQUAL, peer_port))
    tests.append((byte, _FLAGS, _JUMP_ANY_BIT, flags))
    program = _INSTRUCTION.pack(_X_IS_HEADER_LENGTH, 0, 0, 0) if ipv4 else b""
    left = len(tests) * 2
    for load, offset, jump, value in tests:
        left -= 2
        program += _INSTRUCTION.pack(load, 0, 0, offset)
        program += _INSTRUCTION.pack(jump, 0, left + 1, value)
    return program + _INSTRUCTION.pack(_RETURN, 0, 0, _ALL) + _drop()


def refuse_flags(flags: int) -> bytes:
    """For a TCP socket: no segments with any of ``flags``."""
    return (
        _INSTRUCTION.pack(_LOAD_BYTE, 0, 0, _FLAGS)
        + _INSTRUCTION.pack(_JUMP_ANY_BIT, 1, 0, flags)
        + _INSTRUCTION.pack(_RETURN, 0, 0, _ALL)
        + _drop()
    )


def _drop() -> bytes:
    return _INSTRUCTION.pack(_RETURN, 0, 0, _NOTHING)
