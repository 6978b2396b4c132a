"""HTTP proxy: handler and connector ``http``; see docs/http.md."""

from gostpy.processing.http.connector import Connector
from gostpy.processing.http.handler import Handler
from gostpy.processing.http.options import ConnectorOptions, HandlerOptions

__all__ = ["Connector", "ConnectorOptions", "Handler", "HandlerOptions"]
