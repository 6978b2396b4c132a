"""Random files made from the schema print what gost 3.2.6 printed (scripts/make_configs)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

RECORD = Path(__file__).parents[2] / "testdata" / "configs" / "generated.json"
CASES = json.loads(RECORD.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_output(case: dict[str, Any], command: Any, tmp_path: Path) -> None:
    (tmp_path / case["name"]).write_bytes(case["text"].encode())
    for output in ("yaml", "json"):
        result = command("-O", output, "-C", case["name"])
        assert result.status == case.get("status", 0)
        assert result.output == case.get(output, "")
        if result.status:
            assert result.errors.startswith(f"gostpy: {case['name']}:")
