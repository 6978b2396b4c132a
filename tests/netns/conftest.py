"""Namespaces, and the stage on which nodes run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.running import Stage
from tests.netns.lab import Lab, lab_or_skip


@pytest.fixture
def lab() -> Iterator[Lab]:
    yield from lab_or_skip()


@pytest.fixture
def stage(tmp_path: Path, lab: Lab) -> Iterator[Stage]:
    """Ends before the namespaces do."""
    made = Stage(tmp_path)
    yield made
    made.close()
