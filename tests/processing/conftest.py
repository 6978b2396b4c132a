"""What all tests of protocols share."""

import gevent
import pytest


@pytest.fixture(autouse=True)
def _clock_of_now() -> None:
    """The hub's clock stands while the hub does not run; a deadline must not begin in the past."""
    gevent.get_hub().loop.update_now()
