"""Files -> Config: errors and warnings at their place, gost's weak typing, merging."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compat.decode import STRICT, WEAK, DecodeError, Decoder
from compat.load import decode_body, decode_nodes, load_text, nearest
from compat.schema import BypassConfig, Config, FileLoader
from compat.settings import load_settings
from gostpy.errors import ConfigError, Position

SERVICE = """\
# a remark
services:
- name: s
  handler: {type: http}
  listener:
    type: tls
    tls:
      certFile: [a]
"""
ERRORS = [
    pytest.param(
        "yaml",
        SERVICE,
        "t:8:17: services[0].listener.tls.certFile: expected text, not a list",
        id="list-for-text",
    ),
    pytest.param(
        "yaml",
        "hops:\n- name: a\n- reload: '10'\n",
        "t:3:11: hops[1].reload: expected a duration such as 10s or 1m30s "
        "(the duration '10' has no unit; write 10s for seconds), not '10'",
        id="duration-without-unit",
    ),
    pytest.param(
        "yaml",
        "bypasses: {name: b, whitelist: yes}",
        "t:1:32: bypasses[0].whitelist: expected true or false, not 'yes'",
        id="single-object",
    ),
    pytest.param(
        "yaml", "services: a,b", "t:1:11: services[0]: expected a map, not 'a'", id="text-for-list"
    ),
    pytest.param(
        "yaml",
        "log.level: debug\ntls.validity: x\n",
        "t:2:15: tls.validity: expected a duration such as 10s or 1m30s "
        "('x' is not a duration such as 10s or 1m30s), not 'x'",
        id="dotted",
    ),
    pytest.param(
        "yaml",
        "services:\n- handler: {type: http, retries: {}}\n",
        "t:2:34: services[0].handler.retries: expected a whole number, not a map",
        id="flow",
    ),
    pytest.param(
        "yaml",
        "services:\n- name: 2001-01-01\n",
        "t:2:9: services[0].name: expected text, not the date '2001-01-01T00:00:00Z' "
        "(put it in quotes to make it text)",
        id="date",
    ),
    pytest.param(
        "json",
        '{\n "hops": [\n  {"name": "a", "sockopts": {"mark": "x"}}\n ]\n}',
        "t:3:38: hops[0].sockopts.mark: expected a whole number, not 'x'",
        id="json",
    ),
    pytest.param(
        "toml",
        'x = 1\n[[services]]\nname = "a"\n[[services]]\n[services.handler]\nretries = "x"\n',
        "t:6:1: services[1].handler.retries: expected a whole number, not 'x'",
        id="toml",
    ),
    pytest.param("yaml", "- a", "t:1:1: expected a map with keys such as services", id="root"),
    pytest.param("json", '{"a": ', "t:1:7: not valid JSON: Expecting value", id="bad-json"),
    pytest.param("toml", "a = \n", "t:1:5: not valid TOML: Invalid value", id="bad-toml"),
]


@pytest.mark.parametrize(("form", "text", "message"), ERRORS)
def test_errors(form: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(text, form, "t")
    assert str(caught.value).startswith(message)


WARNINGS = [
    (
        "services:\n- name: s\n  hanlder: {type: http}\n",
        "t:3:3: services[0].hanlder: unknown key 'hanlder', did you mean 'handler'?",
    ),
    (
        "services:\n- listener:\n    tls: {certfle: x}\n",
        "t:3:11: services[0].listener.tls.certfle: unknown key 'certfle', did you mean 'certFile'?",
    ),
    ("zzz: 1", "t:1:1: zzz: unknown key 'zzz'"),
    (
        "log:\n  level: info\n  Level: debug\n",
        "t:3:3: log.Level: 'Level' is there twice, spelled differently; the last one counts",
    ),
]


@pytest.mark.parametrize(("text", "message"), WARNINGS)
def test_warnings(text: str, message: str) -> None:
    _, warnings = load_text(text, "yaml", "t")
    assert [str(warning) for warning in warnings] == [message]


def test_free_maps_take_any_key() -> None:
    config, warnings = load_text("hops: [{name: h, metadata: {AnyThing: {Goes: 1}}}]")
    assert not warnings
    assert config.hops
    assert config.hops[0]
    assert config.hops[0].metadata == {"anything": {"goes": 1}}


def test_inline_json_keeps_keys_and_is_strict(command: Any) -> None:
    inline = '{"services": [{"NAME": "a", "metadata": {"Key": 5, "l": [1]}}]}'
    result = command("-O", "yaml", "-C", inline)
    assert "Key: 5" in result.output
    assert command("-O", "yaml", "-C", '{"services": [{"name": 5}]}').status == 1
    result = command("-O", "yaml", "-C", '{"tls": {"validity": "10s"}}')
    assert result.errors == (
        "gostpy: <inline>:1:22: tls.validity: "
        "expected a duration in nanoseconds, a whole number, not '10s'\n"
    )


@pytest.mark.parametrize("extension", ["ini", "hcl", "env", "properties", "txt"])
def test_other_formats_are_refused_by_name(extension: str, command: Any) -> None:
    name = f"gost.{extension}"
    result = command("-C", name, files={name: "x"})
    assert result.status == 1
    assert extension in result.errors
    assert "expected .yml, .yaml, .json or .toml" in result.errors


def test_the_search_finds_a_format_that_is_refused(command: Any) -> None:
    result = command("-O", "yaml", files={"gost.ini": "x"})
    assert result.status == 1
    assert "gost.ini" in result.errors


def test_home_comes_before_the_working_directory(command: Any, tmp_path: Path) -> None:
    (tmp_path / ".gost").mkdir()
    (tmp_path / ".gost" / "gost.yaml").write_text("services: [{name: home}]\n")
    result = command("-O", "yaml", files={"gost.yml": "services: [{name: here}]"})
    assert "name: home" in result.output


def test_unreadable_files(command: Any, tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_bytes(b"a: 1\nb: \xff\n")
    assert command("-C", "x.yml").errors == "gostpy: x.yml:2:4: not UTF-8 text\n"
    assert "no such file" in command("-C", "nothing.yml").errors
    (tmp_path / "d.yml").mkdir()
    assert "d.yml: is a directory" in command("-C", "d.yml").errors
    assert command("-C", "-", stdin="").status == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks(encoding: str, command: Any, tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_bytes("services: [{name: é}]".encode(encoding))
    assert "name: é" in command("-O", "yaml", "-C", "x.yml").output


class _Files(http.server.BaseHTTPRequestHandler):
    """Serves YAML without an extension and JSON by extension."""

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        is_json = ".json" in self.path
        body = b'{"services": [{"name": "j"}]}' if is_json else b"services: [{name: x}]"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain" if is_json else "application/yaml")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_urls(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            base = f"http://127.0.0.1:{server.server_address[1]}"
            result = command("-O", "yaml", "-C", f"{base}/x", "-C", f"{base}/c.json?v=1")
            missing = command("-C", f"{base}/missing")
        finally:
            server.shutdown()
            thread.join()
    assert result.output == "services:\n  - name: x\n  - name: j\n"
    assert missing.status == 1
    assert "404" in missing.errors


def test_positions_survive_merging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yml").write_text("services:\n- name: a\nlog: {level: info}\n")
    (tmp_path / "b.json").write_text('{"services": [\n {"name": "b", "handler": {"type": "x"}}]}')
    arguments = ["-C", "a.yml", "-C", "b.json", "-L", ":80", "-L", ":81", "-F", "http://h:1"]
    found = load_settings(arguments, {}, lambda: b"")
    assert [service.name for service in found.config.services or () if service] == [
        *("a", "b", "service-0", "service-1")
    ]
    assert found.position(("services", 0, "name")) == Position("a.yml", 2, 9)
    assert found.position(("services", 0, "name"), key=True) == Position("a.yml", 2, 3)
    assert found.position(("services", 1, "handler", "type")) == Position("b.json", 2, 36)
    assert found.position(("services", 1, "handler", "nosuch")) == Position("b.json", 2, 27)
    assert found.position(("services", 3, "handler")) == Position("-L 2")
    assert found.position(("chains", 0, "hops", 0, "nodes", 0)) == Position("-F 1")
    assert found.position(("log", "level")) == Position("a.yml", 3, 14)
    assert found.position(("tls",)) is None
    error = found.error("is missing", ("services", 1, "handler", "chain"))
    assert str(error) == "b.json:2:27: services[1].handler.chain: is missing"
    assert found.files == ["a.yml", "b.json"]


def test_nearest() -> None:
    assert nearest("CERTFILES", ["certFile", "keyFile"]) == "certFile"
    assert nearest("zzz", ["certFile"]) == ""


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["services", "hops", "chains", "name", "handler", "metadata", "tls", "reload"]
                + ["nodes", "http", "requestHeader", "chainGroup", "log", "x", "status", "stats"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def test_every_error_is_told(command: Any) -> None:
    text = "services:\n- name: [a]\n  handler: {retries: x, type: http}\ntls: {secure: maybe}\n"
    result = command("-C", "a.yml", files={"a.yml": text})
    assert result.status == 1
    assert [line.split(": ")[2] for line in result.errors.splitlines()] == [
        *("services[0].name", "services[0].handler.retries", "tls.secure")
    ]


def test_bodies_keep_what_fits() -> None:
    text = '{"name": "a", "reload": "10s", "matchers": ["x"], "file": {"path": 1}}'
    made, errors = decode_body(BypassConfig, text)
    assert made == BypassConfig(name="a", matchers=["x"], file=FileLoader())
    assert [error.where for error in errors] == ["reload", "file.path"]
    assert errors[0].position == Position("body", 1, 25)
    with pytest.raises(ConfigError, match="not valid JSON"):
        decode_body(BypassConfig, '{"name": ')
    with pytest.raises(ConfigError, match="expected a map, not a list"):
        decode_body(BypassConfig, "[]")


def test_nodes_of_a_hop() -> None:
    text = '[{"name": "a", "addr": "h:1", "metadata": {"Weight": 2}}, null]'
    assert [(node.name, node.metadata) for node in decode_nodes(text)] == [("a", {"Weight": 2.0})]
    assert decode_nodes("null") == []
    for bad in ("{}", '[{"addr": 1}]', "[1]", "["):
        with pytest.raises(ConfigError):
            decode_nodes(bad)


@settings(deadline=None, max_examples=300)
@given(PLAIN, st.sampled_from([WEAK, STRICT]))
def test_decoding_fails_with_decode_error_only(value: Any, rules: Any) -> None:
    try:
        decoder = Decoder(rules)
        decoder.object(Config, value)
    except DecodeError:
        pass
