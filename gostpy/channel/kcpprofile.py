"""What a kcp channel is set to: its own options over those of a file or map, over what is usual.

Source    go-gost/x internal/util/kcp/config.go, listener/kcp and dialer/kcp metadata.go
Differs   gost 3.2.6 takes key, crypt, mode, mtu, windows and all that has an option of its own
          from that option only, and an empty value when it is missing: a file cannot set them. Here
          it can. ``sockbuf`` may be missing from a file. Values that break gost are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gostpy.errors import ConfigError
from gostpy.options import convert
from gostpy.stream import smux
from gostpy.stream.kcp import Shards
from gostpy.wire.kcp import Settings
from gostpy.wire.kcp.ciphers import MOST_DATAGRAM, SEAL_SIZE
from gostpy.wire.kcp.fec import FEC_OVERHEAD
from gostpy.wire.kcp.galois import MOST_SHARDS

__all__ = ["CRYPTS", "MODES", "Profile", "read_profile"]

CRYPTS = (
    "aes",
    "aes-128",
    "aes-192",
    "salsa20",
    "blowfish",
    "twofish",
    "cast5",
    "3des",
    "tea",
    "xtea",
    "xor",
    "sm4",
    "none",
)
MODES = {
    "normal": (0, 40, 2, 1),
    "fast": (0, 30, 2, 1),
    "fast2": (1, 20, 2, 1),
    "fast3": (1, 10, 2, 1),
}
"""nodelay, interval, resend and nc of each mode."""

_SOCKET_BUFFER = 4194304
_MTU, _LEAST_MTU = 1400, 128
_WINDOW, _MOST_WINDOW = 32, 65535
_SHARDS = (10, 3)

_OWN = (
    "key",
    "crypt",
    "mode",
    "keepalive",
    "interval",
    "mtu",
    "rcvwnd",
    "sndwnd",
    "smuxver",
    "smuxbuf",
    "streambuf",
    "nocomp",
)
"""Values that have an option of their own, ``kcp.NAME``."""


@dataclass(frozen=True)
class _Values:
    """The JSON object; zero and empty mean the usual value."""

    key: str = ""
    crypt: str = ""
    mode: str = ""
    mtu: int = 0
    sndwnd: int = 0
    rcvwnd: int = 0
    datashard: int = 0
    parityshard: int = 0
    dscp: int = 0
    nocomp: bool = False
    acknodelay: bool = False
    nodelay: int = 0
    interval: int = 0
    resend: int = 0
    nc: int = 0
    sockbuf: int = 0
    smuxbuf: int = 0
    streambuf: int = 0
    smuxver: int = 0
    keepalive: int = 0
    snmplog: str = ""
    snmpperiod: int = 0
    signal: bool = False
    tcp: bool = False


@dataclass(frozen=True)
class Profile:
    """How to talk.

    Attributes:
        password, crypt: of the packets.
        tcp: in fake TCP segments.
        compress: the stream goes through snappy.
        dscp: of the IP packets, 0 to 63.
        socket_buffer: bytes that the system may keep, each way.
    """

    password: str = field(repr=False)
    crypt: str
    tcp: bool
    compress: bool
    dscp: int
    socket_buffer: int
    kcp: Settings
    shards: Shards
    smux: smux.Config


def read_profile(options: Any, strict: bool = False) -> Profile:
    """The profile that options mean.

    Args:
        options: has ``config_file``, ``config``, ``tcp`` and a field for each of their own values.
        strict: a file or map sets only what has no option, as in gost.

    Raises ConfigError: a file that cannot be read, or values that cannot be used.
    """
    values = _Values(datashard=_SHARDS[0], parityshard=_SHARDS[1])
    if options.config_file:
        values = _read_file(options.config_file)
    if options.config:
        values = _from_map(options.config, "kcp.config")
    own = {name: getattr(options, name) for name in _OWN}
    if not strict:
        own = {name: value for name, value in own.items() if value}
    values = replace(values, tcp=options.tcp or (values.tcp and not strict), **own)
    return _profile(values)


def _read_file(path: str) -> _Values:
    where = "kcp.configFile"
    try:
        with open(path, encoding="utf-8") as text:
            found = json.load(text)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", where) from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}", where) from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is not a JSON object", where)
    return _from_map(found, where)


def _from_map(found: Mapping[str, Any], where: str) -> _Values:
    made: dict[str, Any] = {}
    for name, default in vars(_Values()).items():
        value = next((item for key, item in found.items() if key.lower() == name), None)
        if value is None:
            continue
        try:
            made[name] = convert(value, type(default).__name__)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error.message}", where) from None
    return _Values(**made)


def _profile(values: _Values) -> Profile:
    sockbuf = values.sockbuf if values.sockbuf > 0 else _SOCKET_BUFFER
    config = smux.Config(
        version=max(values.smuxver, 0) or 1,
        keepalive_interval=float(values.keepalive) if values.keepalive > 0 else 10.0,
        max_receive_buffer=max(values.smuxbuf, 0) or sockbuf,
        max_stream_buffer=max(values.streambuf, 0) or sockbuf // 2,
    )
    try:
        config.check()
    except ConfigError as error:
        raise ConfigError(f"{error.where}: {error.message}", "kcp") from None
    shards = Shards(values.datashard, values.parityshard)
    if values.datashard + values.parityshard > MOST_SHARDS:
        raise ConfigError(f"datashard and parityshard are more than {MOST_SHARDS} together", "kcp")
    return Profile(
        password=values.key,
        crypt=values.crypt,
        tcp=values.tcp,
        compress=not values.nocomp,
        dscp=values.dscp if 0 < values.dscp < 64 else 0,
        socket_buffer=sockbuf,
        kcp=_settings(values, shards),
        shards=shards if shards else Shards(),
        smux=config,
    )


def _settings(values: _Values, shards: Shards) -> Settings:
    mtu = values.mtu if 0 < values.mtu <= MOST_DATAGRAM else _MTU
    if mtu < _LEAST_MTU:
        raise ConfigError(f"{mtu} bytes are too few for a packet", "kcp.mtu")
    plain = (values.nodelay, values.interval, values.resend, values.nc)
    nodelay, interval, resend, nc = MODES.get(values.mode, plain)
    return Settings(
        size=mtu - SEAL_SIZE - (FEC_OVERHEAD if shards else 0),
        send_window=_window(values.sndwnd),
        receive_window=_window(values.rcvwnd),
        nodelay=nodelay > 0,
        interval=min(max(interval, 10), 5000),
        resend=max(resend, 0),
        congestion=nc <= 0,
    )


def _window(packets: int) -> int:
    return min(packets, _MOST_WINDOW) if packets > 0 else _WINDOW
