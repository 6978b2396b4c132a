"""What is said about a configuration at its start, and what is not."""

import pytest

from compat.build.logs import Outputs
from compat.build.remarks import parse_path, remarks
from compat.build.world import build
from compat.settings import load_settings
from gostpy.observe.log import silent

LISTEN = "tcp://127.0.0.1:0/127.0.0.1:9"
LIFTED = (
    "limiter.in=1GB&limiter.out=1GB&limiter.conn.in=1KB&climiter=9&rlimiter=3&admission=1.1.1.1"
    "&bypass=2.2.2.2&resolver=1.1.1.1&prefer=ipv6&hosts=a:1.1.1.1&retries=2&strategy=fifo"
    "&maxFails=2&failTimeout=3s&interface=lo&so_mark=1&netns=a&netns.out=b&dns=1.1.1.1"
)
NODE = "bypass=1.1.1.1&resolver=1.1.1.1&hosts=a:1.1.1.1&interface=lo&so_mark=3&strategy=fifo"
NODE += "&secure=true&serverName=a&auth=YTpi&maxFails=1&netns=a"
CASES = [
    pytest.param(["-L", f"{LISTEN}?{LIFTED}"], [], id="lifted-of-a-service"),
    pytest.param(["-L", LISTEN, "-F", f"http://127.0.0.1:1?{NODE}"], [], id="lifted-of-a-node"),
    pytest.param(["-L", f"{LISTEN}?mptpc=true"], ["mptcp"], id="typo-is-told-once"),
    pytest.param(
        ["-L", LISTEN, "-F", "http://127.0.0.1:1?timeuot=1s"], ["timeout"], id="typo-of-a-node"
    ),
    pytest.param(["-L", f"{LISTEN}?a1=1&b2=2"], ["a1", "b2"], id="two"),
    pytest.param(["-L", f"{LISTEN}?readTimeout=soon"], ["duration"], id="value"),
]


@pytest.mark.parametrize(("arguments", "words"), CASES)
def test_command_lines(arguments: list[str], words: list[str]) -> None:
    settings = load_settings(arguments, {})
    world = build(settings.config, silent(), Outputs())
    lines = list(remarks(settings, world.warnings))
    assert len(lines) == len(words), lines
    for line, word in zip(lines, words, strict=True):
        assert word in line
        assert line.startswith("-")


def test_paths() -> None:
    assert parse_path("services[0].handler") == ("services", 0, "handler")
    assert parse_path("") == ()
