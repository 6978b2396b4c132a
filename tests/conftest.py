"""Tests run on green threads, as the program does: the standard library is patched first."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import shutil  # noqa: E402

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("ci", max_examples=60, deadline=None)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def gost_binary() -> str:
    """The real gost, from GOST_BIN or the PATH; tests that need it are skipped without."""
    found = os.environ.get("GOST_BIN") or shutil.which("gost")
    if not found:
        pytest.skip("needs the real gost in GOST_BIN or on the PATH")
    return found


@pytest.fixture(autouse=True)
def _no_strict_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests does not change what is tested."""
    for name in ("GOSTPY_COMPAT", "GOST_LOGGER_LEVEL", "GOST_API", "GOST_METRICS"):
        monkeypatch.delenv(name, raising=False)
