"""HTTP/2 proxy: handler and connector ``http2``; see docs/http2.md."""

from gostpy.processing.http2.connector import Connector
from gostpy.processing.http2.handler import Handler
from gostpy.processing.http2.options import ConnectorOptions, HandlerOptions

__all__ = ["Connector", "ConnectorOptions", "Handler", "HandlerOptions"]
