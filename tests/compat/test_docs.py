"""docs/config.md holds the reference that the schema makes."""

from __future__ import annotations

from pathlib import Path

from compat.schema.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "config.md"


def test_reference_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8").endswith(reference())
