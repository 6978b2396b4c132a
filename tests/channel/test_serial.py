"""Serial ports, played by pseudo terminals: addresses, line settings, listener, handler, node."""

import errno
import os
import socket
import sys
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.channel import serial
from gostpy.errors import ConfigError, DialFailed, MissingExtra
from gostpy.interfaces import Context
from gostpy.net.serialport import SerialPort, open_serial
from tests.channel.fakes import SilentLog
from tests.engine.running import Stage, eventually, read_exact
from tests.net.ptys import Line, lines

pytestmark = pytest.mark.timeout(30)

ADDRESSES = [
    pytest.param("/dev/ttyS0", SerialPort("/dev/ttyS0"), "/dev/ttyS0,9600", id="defaults"),
    pytest.param("COM1,115200", SerialPort("COM1", 115200), "COM1,115200", id="baud"),
    pytest.param("a,50,odd", SerialPort("a", 50, "O"), "a,50,odd", id="odd"),
    pytest.param("a,50,E", SerialPort("a", 50, "E"), "a,50,even", id="letter"),
    pytest.param("a,50,Mark", SerialPort("a", 50, "M"), "a,50,mark", id="mark"),
    pytest.param("a,50,s", SerialPort("a", 50, "S"), "a,50,space", id="space"),
    pytest.param("a,50,none", SerialPort("a", 50), "a,50", id="none"),
    pytest.param("a,,odd", SerialPort("a", 9600, "O"), "a,9600,odd", id="no baud"),
]


@pytest.mark.parametrize(("text", "port", "written"), ADDRESSES)
def test_addresses(text, port, written):
    assert SerialPort.parse(text) == port
    assert str(port) == written
    assert SerialPort.parse(written) == port


@pytest.mark.parametrize("text", ["", ",9600", "a,fast", "a,0", "a,-1", "a,9600,x", "a,9600,odd,1"])
def test_bad_addresses(text):
    with pytest.raises(ConfigError):
        SerialPort.parse(text)


@given(st.text(alphabet="a/,09oe-x", max_size=20))
def test_any_address(text):
    try:
        port = SerialPort.parse(text)
    except ConfigError:
        return
    assert SerialPort.parse(str(port)) == port


@pytest.fixture
def line():
    with lines(1) as made:
        yield made[0]


@pytest.fixture
def pair():
    with lines(2) as made:
        yield made


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.setattr(serial, "AGAIN", 0.02)
    made = Stage(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("settings", "speed"),
    [
        pytest.param("", termios.B9600, id="defaults"),
        pytest.param(",115200", termios.B115200, id="fast"),
        pytest.param(",300", termios.B300, id="slow"),
    ],
)
def test_line_settings(line, settings, speed):
    conn = open_serial(line.name + settings)
    found = line.settings()
    assert found[4:6] == [speed, speed]
    assert not found[2] & (termios.PARENB | termios.CSTOPB)
    assert found[2] & termios.CSIZE == termios.CS8
    conn.sendall(b"\x00\x11\x13\xff\r\n")
    assert line.receive(6) == b"\x00\x11\x13\xff\r\n"
    line.send(b"\x03\x04\n")
    assert conn.read_exact(3) == b"\x03\x04\n"
    conn.close()


@pytest.mark.parametrize("word", ["odd", "even", "mark", "space"])
def test_parity(line, monkeypatch, word):
    """A pseudo terminal knows no parity: what the library is told."""
    import serial as library

    told = []

    def port(*arguments, parity, **more):
        told.append(parity)
        raise termios.error(22, "Invalid argument")

    monkeypatch.setattr(library, "Serial", port)
    with pytest.raises(DialFailed, match="cannot be set"):
        open_serial(f"{line.name},9600,{word}")
    assert told == [word[0].upper()]


def test_a_port_that_cannot_be_used_is_closed(line, monkeypatch):
    def full(descriptor):
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, "dup", full)
    with pytest.raises(DialFailed, match="Too many") as caught:
        open_serial(line.name)
    assert caught.value.__cause__ is not None  # it keeps the frame that had the port open
    monkeypatch.undo()

    def opens():
        try:
            open_serial(line.name).close()
        except DialFailed:
            return False
        return True

    eventually(opens)  # the loop may have to let go of the descriptor first


def test_a_port_is_busy(line):
    conn = open_serial(line.name)
    with pytest.raises(DialFailed, match="busy"):
        open_serial(line.name)
    conn.close()

    def free():
        try:
            open_serial(line.name).close()
        except DialFailed:
            return False
        return True

    eventually(free)


def test_no_such_port():
    with pytest.raises(DialFailed, match="No such file"):
        open_serial("/dev/no-such-port")


def test_missing_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "serial", None)
    context = Context("/dev/ttyS0", SilentLog(), listening=True)
    with pytest.raises(MissingExtra, match=r"gostpy\[serial\]"):
        serial.Carrier(serial.ListenOptions(), context)


SERVICE = """
services:
- name: port
  addr: {address}
  listener: {{type: serial, metadata: {{{listener}}}}}
  handler: {{type: serial, metadata: {{{handler}}}{chain}}}
  {forwarder}
{rest}
"""


def config(address: str, target: str = "", listener="", handler="", chain="", rest="") -> str:
    forwarder = f'forwarder: {{nodes: [{{name: t, addr: "{target}"}}]}}' if target else ""
    return SERVICE.format(**locals())


def through(near: Line, far: Line) -> None:
    """Bytes pass both ways."""
    near.wake(far)
    near.send(b"there")
    assert far.receive(5) == b"there"
    far.send(b"back")
    assert near.receive(4) == b"back"


def test_to_another_port_with_the_same_settings(stage, pair):
    near, far = pair
    stage.run(config(f"{near.name},19200", far.name))
    through(near, far)
    assert far.settings()[4] == termios.B19200


def test_to_a_port_with_settings_of_its_own(stage, pair):
    near, far = pair
    stage.run(config(f"{near.name},19200", f"{far.name},4800"))
    through(near, far)
    assert far.settings()[4] == termios.B4800


RELAY = """
chains:
- name: way
  hops: [{{name: h, nodes: [{{name: n, addr: "127.0.0.1:{port}",
    connector: {{type: relay}}, dialer: {{type: tcp}}}}]}}]
"""


@pytest.mark.parametrize("named", [True, False], ids=["port of a forwarder", "end of the chain"])
def test_through_a_chain(stage, pair, named):
    near, far = pair
    target = (
        "" if named else f'forwarder: {{nodes: [{{name: t, addr: "127.0.0.1:{stage.echo()}"}}]}}'
    )
    relay = stage.run(
        f"services: [{{name: r, addr: '127.0.0.1:0', handler: {{type: relay}},\n"
        f" listener: {{type: tcp}}, {target}}}]"
    )
    rest = RELAY.format(port=relay.port("r"))
    stage.run(config(near.name, far.name if named else "", chain=", chain: way", rest=rest))
    if named:
        through(near, far)
    else:
        near.wake(near)
        near.send(b"echo")
        assert near.receive(4) == b"echo"


def test_dialer(stage, line):
    """A serial node: the port is what the connector asks for, whatever the target."""
    node = stage.run(
        f"""
services:
- name: tcp
  addr: 127.0.0.1:0
  listener: {{type: tcp}}
  handler: {{type: tcp, chain: way}}
  forwarder: {{nodes: [{{name: t, addr: "127.0.0.1:1"}}]}}
chains:
- name: way
  hops: [{{name: h, nodes: [{{name: n, addr: "{line.name},1200",
    connector: {{type: serial}}, dialer: {{type: serial}}}}]}}]
"""
    )
    with socket.create_connection(("127.0.0.1", node.port("tcp")), 5) as sock:
        sock.sendall(b"there")
        assert line.receive(5) == b"there"
        line.send(b"back")
        assert read_exact(sock, 4) == b"back"
        assert line.settings()[4] == termios.B1200


def test_a_port_that_comes_and_goes(stage, tmp_path):
    """It is opened when it is there; each reason is said once."""
    name = tmp_path / "port"
    with lines(2) as (target, first):
        node = stage.run(config(str(name), target.name))
        eventually(lambda: node.messages("error"))
        os.symlink(first.name, name)
        first.wake(target)
        first.send(b"one")
        assert target.receive(3) == b"one"
        first.hang_up()
        name.unlink()
        eventually(lambda: len(node.messages("error")) == 2)
        with lines(1) as (second,):
            os.symlink(second.name, name)
            second.wake(target)
            second.send(b"two")
            assert target.receive(3) == b"two"
        assert all("No such file" in text for text in node.messages("error"))


@pytest.mark.effect("listener:serial", "timeout")
def test_silence_of_the_port(stage, pair):
    near, far = pair
    node = stage.run(config(near.name, far.name, listener="timeout: 30ms"))
    near.wake(far)
    eventually(lambda: [text for text in node.messages("info") if ">-<" in text])
    through(near, far)


@pytest.mark.effect("handler:serial", "timeout")
def test_silence_of_the_target(stage, pair):
    near, far = pair
    node = stage.run(config(near.name, far.name, handler="timeout: 30ms"))
    near.wake(far)
    eventually(lambda: [text for text in node.messages("info") if ">-<" in text])


def test_rate_limit(stage, pair):
    """The guards apply to a port as to any conn."""
    near, far = pair
    rest = "limiters: [{name: l, limits: ['$ 100KB 100KB']}]"
    text = config(near.name, far.name, rest=rest).replace(
        "  forwarder", "  limiter: l\n  forwarder"
    )
    stage.run(text)
    through(near, far)
