"""docs/transports.md says what the code declares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_what_the_script_writes() -> None:
    script = ROOT / "scripts" / "transports_page.py"
    made = subprocess.run(
        [sys.executable, str(script), "--print"], capture_output=True, text=True, check=True
    )
    page = (ROOT / "docs" / "transports.md").read_text(encoding="utf-8")
    assert page == made.stdout, "run scripts/transports_page.py"
