"""Start, warnings, hooks, logs, signals, reload, workers."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gostpy.errors import ConfigError
from tests.engine.running import Stage, ask, dial, eventually, fetch, free_port, read_all

ROOT = Path(__file__).resolve().parents[2]
FORWARD = """
services:
- name: in
  addr: 127.0.0.1:{port}
  handler: {{type: tcp{handler}}}
  listener: {{type: tcp{listener}}}
  {service}
  forwarder: {{nodes: [{{name: t, addr: "127.0.0.1:{target}"}}]}}
"""


def forward(target: int, *, port: int = 0, service: str = "", handler="", listener="") -> str:
    return FORWARD.format(
        target=target, port=port, service=service, handler=handler, listener=listener
    )


# -- start ---------------------------------------------------------------------------------------


def test_service_without_a_name_gets_one(stage: Stage) -> None:
    running = stage.run(forward(stage.greeter("x")).replace("- name: in\n ", "-"))
    assert fetch(running.port("service-0")) == "x"
    (warning,) = running.messages("warning")
    assert "no name" in warning
    assert f"{running.path}:3:" in warning


def test_service_without_a_name_is_not_served_in_strict_mode(stage: Stage) -> None:
    text = forward(stage.greeter("x")).replace("- name: in\n ", "-")
    assert not stage.run(text, strict=True).node.world.runtime.services


def test_port_in_use_leaves_nothing_bound(stage: Stage) -> None:
    target, taken = stage.greeter("x"), stage.greeter("y")
    first = free_port()
    text = forward(target, port=first) + forward(target, port=taken).replace(
        "\nservices:\n", ""
    ).replace("name: in", "name: other")
    with pytest.raises(ConfigError, match=r"other.*in use"):
        stage.run(text)
    socket.create_server(("127.0.0.1", first)).close()


MISTAKES = [
    pytest.param("handler: {type: tcp}", "handler: {type: nope}", "handler.type", id="handler"),
    pytest.param("listener: {type: tcp}", "listener: {type: nope}", "listener.type", id="listener"),
    pytest.param(
        "handler: {type: tcp}",
        "handler: {type: tcp, auth: {file: /none}}",
        "handler.auth",
        id="auth-file",
    ),
]


@pytest.mark.parametrize(("right", "wrong", "where"), MISTAKES)
def test_mistakes_name_their_place(stage: Stage, right: str, wrong: str, where: str) -> None:
    text = forward(9)
    assert right in text
    with pytest.raises(ConfigError) as caught:
        stage.run(text.replace(right, wrong))
    message = str(caught.value)
    assert where in message
    assert "node-0.yml:" in message


WARNINGS = [
    pytest.param("metadata: {dialTimeuot: 3s}", "dialTimeout", id="typo-of-a-service"),
    pytest.param("metadata: {dialTimeout: soon}", "duration", id="mistyped"),
    pytest.param("admission: gone", "admission", id="reference"),
]


@pytest.mark.parametrize(("service", "word"), WARNINGS)
def test_warnings_have_positions(stage: Stage, service: str, word: str) -> None:
    (warning,) = stage.run(forward(9, service=service)).messages("warning")
    assert word in warning
    assert ".yml:7:" in warning


def test_hooks(stage: Stage) -> None:
    out = stage.folder / "hooks"
    hooks = ", ".join(
        f"{name}: [\"sh -c 'echo {name} >> {out}'\"]"
        for name in ("preUp", "postUp", "preDown", "postDown")
    )
    running = stage.run(forward(9, service=f"metadata: {{{hooks}}}"))
    assert out.read_text().split() == ["preUp", "postUp"]
    running.node.close()
    assert out.read_text().split() == ["preUp", "postUp", "preDown", "postDown"]


def test_failing_hook_changes_nothing(stage: Stage) -> None:
    hooks = "metadata: {preUp: ['false', 'no-such-command', '\"']}"
    running = stage.run(forward(stage.greeter("x"), service=hooks))
    assert fetch(running.port("in")) == "x"
    assert len([line for line in running.messages("warning") if "preUp" in line]) == 3


def test_loggers(stage: Stage) -> None:
    paths = [stage.folder / name for name in ("one.log", "two.log")]
    text = forward(stage.greeter("x"), service="loggers: [one, two, gone]") + "loggers:\n"
    for path in paths:
        text += f"- {{name: {path.stem}, log: {{output: {path}}}}}\n"
    running = stage.run(text)
    assert fetch(running.port("in")) == "x"
    for path in paths:
        assert eventually(lambda path=path: ">-<" in path.read_text())
    assert not any(">-<" in message for message in running.messages())
    assert any("'gone'" in message for message in running.messages("warning"))


def test_file_of_a_logger_cannot_be_opened(stage: Stage) -> None:
    text = forward(9) + "loggers: [{name: l, log: {output: /proc/none/x}}]\n"
    with pytest.raises(ConfigError, match=r"loggers.0..log.output"):
        stage.run(text)


# -- reload --------------------------------------------------------------------------------------


def test_unchanged_listener_keeps_socket_and_conns(stage: Stage) -> None:
    running = stage.run(forward(stage.echo()))
    port = running.port("in")
    bound = running.node.world.runtime.services["in"].listener
    with dial(port) as old:
        old.sendall(b"before")
        assert old.recv(100) == b"before"
        running.rewrite(forward(stage.greeter("new")))
        assert running.node.reload()
        assert running.node.world.runtime.services["in"].listener is bound
        assert fetch(port) == "new"
        old.sendall(b"after")
        assert old.recv(100) == b"after"


def test_moved_listener(stage: Stage) -> None:
    running = stage.run(forward(stage.echo()))
    port = running.port("in")
    with dial(port) as old:
        old.sendall(b"a")
        assert old.recv(1) == b"a"
        moved = free_port()
        running.rewrite(forward(stage.greeter("new"), port=moved))
        assert running.node.reload()
        assert fetch(moved) == "new"
        with pytest.raises(ConnectionRefusedError):
            dial(port)
        old.sendall(b"b")
        assert old.recv(1) == b"b"


BAD = [
    pytest.param("services: [", id="syntax"),
    pytest.param("services: [{name: in, addr: ':0', handler: {type: nope}}]", id="handler"),
    pytest.param("services: [{name: in, addr: ':0', handler: {auth: {file: /none}}}]", id="file"),
]


@pytest.mark.parametrize("text", BAD)
def test_bad_config_changes_nothing(stage: Stage, text: str) -> None:
    running = stage.run(forward(stage.greeter("old")))
    world = running.node.world
    running.rewrite(text)
    assert not running.node.reload()
    assert running.node.world is world
    assert fetch(running.port("in")) == "old"
    assert len(running.messages("error")) == 1


def test_port_in_use_changes_nothing(stage: Stage) -> None:
    """Also for the listener that had to make room."""
    target, port, taken = stage.greeter("old"), free_port(), stage.greeter("y")
    running = stage.run(forward(target, port=port))
    text = forward(stage.greeter("new"), port=port, listener=", metadata: {mptcp: true}")
    text += forward(target, port=taken).replace("\nservices:\n", "").replace("name: in", "name: z")
    running.rewrite(text)
    assert not running.node.reload()
    assert fetch(port) == "old"


def test_swapped_addresses(stage: Stage) -> None:
    ports = free_port(), free_port()
    text = "services:\n"
    for name in ("a", "b"):
        text += forward(stage.greeter(name), port=1).replace("\nservices:\n", "")
        text = text.replace("name: in", f"name: {name}").replace("127.0.0.1:1\n", f"<{name}>\n")

    def with_ports(a: int, b: int) -> str:
        return text.replace("<a>", f"127.0.0.1:{a}").replace("<b>", f"127.0.0.1:{b}")

    running = stage.run(with_ports(*ports))
    assert [fetch(port) for port in ports] == ["a", "b"]
    running.rewrite(with_ports(*reversed(ports)))
    assert running.node.reload()
    assert [fetch(port) for port in ports] == ["b", "a"]


def test_wildcard_takes_over_a_port(stage: Stage) -> None:
    port = free_port()
    running = stage.run(forward(stage.greeter("old"), port=port))
    running.rewrite(
        forward(stage.greeter("new"), port=port).replace(f"127.0.0.1:{port}", f'":{port}"')
    )
    assert running.node.reload()
    assert fetch(port) == "new"


def test_log_files_stay_open_and_follow_rotation(stage: Stage) -> None:
    """Reloading takes no more descriptors; a log that was moved away is begun anew."""
    text = forward(9) + f"loggers: [{{name: l, log: {{output: {stage.folder / 'named.log'}}}}}]\n"
    running = stage.run(text)
    assert running.node.reload()
    known = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        assert running.node.reload()
    assert len(os.listdir("/proc/self/fd")) <= known
    moved = running.log_path.rename(running.log_path.with_suffix(".old"))
    assert running.node.reload()
    assert running.messages() == ["config reloaded"]
    assert "listening" in moved.read_text()


def test_service_that_is_gone(stage: Stage) -> None:
    running = stage.run(forward(stage.greeter("old")))
    port = running.port("in")
    running.rewrite("services: []")
    assert running.node.reload()
    with pytest.raises(ConnectionRefusedError):
        dial(port)


def test_policies_apply_after_reload(stage: Stage) -> None:
    text = forward(stage.greeter("x"), service="admission: a") + "admissions:\n"
    running = stage.run(text + "- {name: a, matchers: [10.0.0.1]}\n")
    port = running.port("in")
    assert fetch(port) == "x"
    running.rewrite(text + "- {name: a, matchers: [127.0.0.1]}\n")
    assert running.node.reload()
    assert fetch(port) == ""


def test_conn_over_a_mux_survives_reload(stage: Stage) -> None:
    """The session belongs to a node that was replaced; it ends with its last conn."""
    far = stage.run(
        "services: [{name: p, addr: '127.0.0.1:0', handler: {type: relay}, listener: {type: mtcp}}]"
    )
    text = f"""
services: [{{name: in, addr: '127.0.0.1:0', handler: {{type: tcp, chain: way}},
  forwarder: {{nodes: [{{name: t, addr: '127.0.0.1:{stage.echo()}'}}]}}}}]
chains: [{{name: way, hops: [{{name: h, nodes: [{{name: n, addr: '127.0.0.1:{far.port("p")}',
  connector: {{type: relay}}, dialer: {{type: mtcp}}}}]}}]}}]
"""
    running = stage.run(text)
    with dial(running.port("in")) as sock:
        sock.sendall(b"a")
        assert sock.recv(1) == b"a"
        assert running.node.reload()
        sock.sendall(b"b")
        assert sock.recv(1) == b"b"
        with dial(running.port("in")) as new:
            new.sendall(b"c")
            assert new.recv(1) == b"c"


def test_remote_listener_uses_the_new_chain(stage: Stage) -> None:
    """rtcp keeps its service; after the old node has gone it binds at the new one."""
    ports = free_port(), free_port()
    far = (
        "services: [{name: p, addr: '127.0.0.1:0', handler: {type: relay, metadata: {bind: true}}}]"
    )
    first, second = stage.run(far), stage.run(far)
    text = """
services: [{{name: r, addr: '127.0.0.1:{port}', listener: {{type: rtcp, chain: way}},
  handler: {{type: rtcp}}, forwarder: {{nodes: [{{name: t, addr: '127.0.0.1:{target}'}}]}}}}]
chains: [{{name: way, hops: [{{name: h, nodes: [{{name: n, connector: {{type: relay}},
  addr: '127.0.0.1:{node}'}}]}}]}}]
"""
    target = stage.greeter("x")
    running = stage.run(text.format(port=ports[0], target=target, node=first.port("p")))
    eventually(lambda: answers(ports[0], "x"))
    running.rewrite(text.format(port=ports[0], target=target, node=second.port("p")))
    assert running.node.reload()
    first.node.close()
    eventually(lambda: answers(ports[0], "x"))


def answers(port: int, word: str) -> bool:
    try:
        return fetch(port) == word
    except OSError:
        return False


def test_period(stage: Stage) -> None:
    running = stage.run(forward(stage.greeter("old")), start=False)
    running.node.settings.reload = type(running.node.settings.reload)(50_000_000)
    running.node.start()
    port = running.port("in")
    assert fetch(port) == "old"
    running.rewrite(forward(stage.greeter("new")))
    assert eventually(lambda: fetch(port) == "new")


# -- the process ---------------------------------------------------------------------------------


def start_process(stage: Stage, *arguments: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gostpy", *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    stage.later(process.stderr.close)
    stage.later(process.wait)
    stage.later(process.kill)
    stage._closing.reverse()
    return process


def wait_for(process: subprocess.Popen[bytes], word: str, times: int = 1) -> str:
    """What the process says until a line has ``word``."""
    said = ""
    while said.count(word) < times:
        line = process.stderr.readline().decode()
        assert line, said
        said += line
    return said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop(stage: Stage, number: int) -> None:
    port = free_port()
    process = start_process(stage, "-L", f"tcp://127.0.0.1:{port}/127.0.0.1:{stage.echo()}")
    wait_for(process, "listening")
    with dial(port) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        process.send_signal(number)
        assert process.wait(10) == 0
        assert read_all(sock) == b""
    assert b"Traceback" not in process.stderr.read()


def test_hangup_reloads(stage: Stage) -> None:
    path = stage.folder / "hup.yml"
    port = free_port()
    path.write_text(forward(stage.greeter("old"), port=port))
    process = start_process(stage, "-C", str(path))
    wait_for(process, "listening")
    assert fetch(port) == "old"
    path.write_text(forward(stage.greeter("new"), port=port))
    process.send_signal(signal.SIGHUP)
    wait_for(process, "config reloaded")
    assert fetch(port) == "new"
    process.terminate()
    assert process.wait(10) == 0


def test_failing_start(stage: Stage) -> None:
    process = start_process(stage, "-L", f"tcp://127.0.0.1:{stage.echo()}/127.0.0.1:9")
    assert process.wait(20) == 1
    said = process.stderr.read().decode()
    assert "in use" in said
    assert "Traceback" not in said


def test_workers(stage: Stage) -> None:
    ports = free_port(), free_port()
    urls = [f"tcp://127.0.0.1:{port}/127.0.0.1:{stage.greeter('w')}" for port in ports]
    process = start_process(stage, "-L", urls[0], "--", "-L", urls[1])
    wait_for(process, "listening", 2)
    assert [fetch(port) for port in ports] == ["w", "w"]
    process.terminate()
    assert process.wait(15) == 1
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            dial(port)


def test_one_worker_takes_the_others_with_it(stage: Stage) -> None:
    port = free_port()
    good = f"tcp://127.0.0.1:{port}/127.0.0.1:9"
    bad = f"tcp://127.0.0.1:{stage.echo()}/127.0.0.1:9"
    process = start_process(stage, "-L", good, "--", "-L", bad)
    assert process.wait(20) == 1
    with pytest.raises(ConnectionRefusedError):
        dial(port)


def test_service_goes_on_after_a_proxy_error(stage: Stage) -> None:
    running = stage.run("services: [{name: in, addr: '127.0.0.1:0', handler: {type: socks5}}]")
    assert ask(running.port("in"), "127.0.0.1", stage.dead_port()) == "reply 3"
    assert ask(running.port("in"), "127.0.0.1", stage.greeter("x")) == "x"
    assert os.environ.get("GOSTPY_COMPAT") is None
