"""Every recorded command line of gost 3.2.6 prints what gost printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compat.yaml_read import parse_yaml

TESTDATA = Path(__file__).parents[2] / "testdata"
CASES = json.loads((TESTDATA / "cli" / "cases.json").read_text(encoding="utf-8"))
DIFFERENCES_FILE = TESTDATA / "cli_differences.yml"
DIFFERENCES = {
    row["id"]: row
    for row in parse_yaml(DIFFERENCES_FILE.read_text(encoding="utf-8"), DIFFERENCES_FILE.name)
}


@pytest.mark.parametrize("mode", ["default", "strict"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_output(case: dict[str, Any], mode: str, command: Any) -> None:
    expected = case.get("output")
    if mode == "default" and case["id"] in DIFFERENCES:
        expected = DIFFERENCES[case["id"]]["gostpy"]
    result = command(
        "-O",
        case.get("format", "yaml"),
        *case["arguments"],
        files=case.get("files"),
        environment=case.get("environment"),
        stdin=case.get("stdin", ""),
        strict=mode == "strict",
    )
    assert result.status == case.get("status", 0)
    if expected is not None:
        assert result.output == expected
    else:
        assert result.output == ""
        assert result.errors.startswith("gostpy: ")


def test_differences_are_real() -> None:
    recorded = {case["id"]: case.get("output") for case in CASES}
    for name, row in DIFFERENCES.items():
        assert row["gost"] == recorded[name]
        assert row["gostpy"] != row["gost"]
        assert row["reason"]
