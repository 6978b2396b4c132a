"""The table of rule functions; what they do is tested in test_matcher.py."""

import pytest

from gostpy.errors import ConfigError
from gostpy.route.conditions import FUNCTIONS


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_are_counted(name: str) -> None:
    for arguments in ([], ["/a", "b", "c"]):
        with pytest.raises(ConfigError, match="argument"):
            FUNCTIONS[name](arguments, None)
