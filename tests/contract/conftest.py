"""Contract tests play on the engine's stage."""

from tests.engine.conftest import stage

__all__ = ["stage"]
