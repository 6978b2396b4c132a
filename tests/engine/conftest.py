"""The stage on which engine tests play."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.running import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()
