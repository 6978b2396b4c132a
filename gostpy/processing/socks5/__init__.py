"""SOCKS 5 with gost's extensions, both sides; see gostpy.wire.socks5."""

from gostpy.processing.socks5.connector import Connector
from gostpy.processing.socks5.handler import Handler
from gostpy.processing.socks5.options import ConnectorOptions, HandlerOptions

__all__ = ["Connector", "ConnectorOptions", "Handler", "HandlerOptions"]
