"""What a configuration may say and gostpy does not do yet is an error with its place."""

from pathlib import Path

import pytest

from compat.run import Node
from compat.settings import load_settings
from gostpy.errors import ConfigError

SERVICE = "services:\n- name: s\n  addr: 127.0.0.1:0\n  handler: {type: tcp}\n"
CASES = [
    pytest.param("hops:\n- name: h\n  file: {path: x}\n", "hops[0].file", 7, id="hop-file"),
    pytest.param("hops:\n- name: h\n  plugin: {addr: x}\n", "hops[0].plugin", 7, id="hop-plugin"),
    pytest.param("bypasses:\n- name: b\n  redis: {addr: x}\n", "bypasses[0].redis", 7, id="redis"),
    pytest.param("ingresses:\n- name: i\n", "ingresses[0]", 6, id="ingress"),
    pytest.param("observers:\n- name: o\n", "observers[0]", 6, id="observer"),
    pytest.param("recorders:\n- name: r\n", "recorders[0]", 6, id="recorder"),
]


@pytest.mark.parametrize(("text", "where", "line"), CASES)
def test_refused_or_built(tmp_path: Path, text: str, where: str, line: int) -> None:
    """As soon as something is built, it is not refused any more; while it is, by name."""
    path = tmp_path / "gost.yml"
    path.write_text(SERVICE + text + "log: {output: none}\n")
    node = Node(load_settings(["-C", str(path)], {}))
    said = ""
    try:
        node.start()
    except ConfigError as error:
        said = str(error)
    finally:
        node.close()
    assert not said or (where in said and f"gost.yml:{line}:" in said)
