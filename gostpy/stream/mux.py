"""Which mux a session speaks: the ``mux.*`` options, shared by everything that has a mux.

Used by the mtcp, mtls, mws and mwss data channels and by the bindings of relay, SOCKS 5 and tunnel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gostpy.net.conn import Conn
from gostpy.options import opt
from gostpy.stream import smux, yamux
from gostpy.stream.session import Delivered

__all__ = ["MuxOptions", "MuxSettings", "Session", "check_mux", "mux_session"]

Session = smux.Session | yamux.Session


@dataclass(frozen=True)
class MuxOptions:
    """The ``mux.*`` keys; options of components take them in by inheritance."""

    mux_type: str = opt(
        "smux", "mux.type", since="3.3", choices=("", "smux", "yamux"), doc="Mux protocol."
    )
    mux_version: int = opt(1, "mux.version", positive=True, doc="Version of smux, 1 or 2.")
    mux_keepalive_interval: float = opt(
        0.0,
        "mux.keepaliveInterval",
        kind="duration",
        positive=True,
        doc="Time between keep-alives; 0 = 10 s (smux), 30 s (yamux).",
    )
    mux_keepalive_disabled: bool = opt(
        False, "mux.keepaliveDisabled", doc="Neither send keep-alives nor miss those of the peer."
    )
    mux_keepalive_timeout: float = opt(
        30.0,
        "mux.keepaliveTimeout",
        kind="duration",
        positive=True,
        doc="Silence after which the session is closed (smux).",
    )
    mux_max_frame_size: int = opt(
        32768, "mux.maxFrameSize", unit="bytes", positive=True, doc="Largest frame sent (smux)."
    )
    mux_max_receive_buffer: int = opt(
        4194304,
        "mux.maxReceiveBuffer",
        unit="bytes",
        positive=True,
        doc="Bytes that may wait in the whole session (smux).",
    )
    mux_max_stream_buffer: int = opt(
        65536,
        "mux.maxStreamBuffer",
        unit="bytes",
        positive=True,
        doc="Window of one stream (smux version 2).",
    )
    mux_max_stream_window: int = opt(
        262144,
        "mux.maxStreamWindow",
        unit="bytes",
        since="3.3",
        positive=True,
        doc="Window of one stream (yamux), at least 262144.",
    )


class MuxSettings(Protocol):
    """Any options that have the fields of :class:`MuxOptions`."""

    @property
    def mux_type(self) -> str: ...
    @property
    def mux_version(self) -> int: ...
    @property
    def mux_keepalive_interval(self) -> float: ...
    @property
    def mux_keepalive_disabled(self) -> bool: ...
    @property
    def mux_keepalive_timeout(self) -> float: ...
    @property
    def mux_max_frame_size(self) -> int: ...
    @property
    def mux_max_receive_buffer(self) -> int: ...
    @property
    def mux_max_stream_buffer(self) -> int: ...
    @property
    def mux_max_stream_window(self) -> int: ...


def check_mux(options: MuxSettings) -> None:
    """Raises ConfigError: a session with these options cannot be made."""
    _config(options).check()


def mux_session(
    conn: Conn, options: MuxSettings, client: bool, deliver: Delivered | None = None
) -> Session:
    """A session over ``conn``, to be started. Raises ConfigError."""
    config = _config(options)
    if isinstance(config, yamux.Config):
        return yamux.Session(conn, config, client, deliver)
    return smux.Session(conn, config, client, deliver)


def _config(options: MuxSettings) -> smux.Config | yamux.Config:
    if options.mux_type == "yamux":
        return yamux.Config(
            keepalive=not options.mux_keepalive_disabled,
            keepalive_interval=options.mux_keepalive_interval or 30.0,
            max_stream_window=options.mux_max_stream_window,
        )
    return smux.Config(
        version=options.mux_version,
        keepalive=not options.mux_keepalive_disabled,
        keepalive_interval=options.mux_keepalive_interval or 10.0,
        keepalive_timeout=options.mux_keepalive_timeout,
        max_frame_size=options.mux_max_frame_size,
        max_receive_buffer=options.mux_max_receive_buffer,
        max_stream_buffer=options.mux_max_stream_buffer,
    )
