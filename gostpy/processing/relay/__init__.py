"""Relay: gost's own proxy protocol (CONNECT, BIND, UDP, forwarding); see gostpy.wire.relay."""

from gostpy.processing.relay.connector import Connector
from gostpy.processing.relay.handler import Handler
from gostpy.processing.relay.options import ConnectorOptions, HandlerOptions

__all__ = ["Connector", "ConnectorOptions", "Handler", "HandlerOptions"]
