"""One set of namespaces for all tests here, and the programs that play the node."""

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.transparent.routing import Routing, gostpy_program


@pytest.fixture(scope="package")
def routing() -> Iterator[Routing]:
    made = Routing()
    servers = made.serve(80) + made.serve(443) + made.serve_datagrams(5353)
    yield made
    for server in servers:
        server.close()
    made.close()


@pytest.fixture(params=["gostpy", "gost"])
def program(request: pytest.FixtureRequest) -> list[str]:
    """What is run on the router; the real gost shows that the tests are right."""
    if request.param == "gostpy":
        return gostpy_program()
    found = os.environ.get("GOST_BIN") or shutil.which("gost")
    if not found:
        pytest.skip("needs the real gost in GOST_BIN or on the PATH")
    return [found]
