from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.stage import Stage, serve_origin


@pytest.fixture(scope="module")
def origin() -> Iterator[int]:
    yield from serve_origin()


@pytest.fixture
def stage(tmp_path: Path, origin: int) -> Iterator[Stage]:
    made = Stage(tmp_path, origin)
    yield made
    made.close()
