"""gost 3.2.6 heard once more: its bytes, opened with the secrets of that time."""

import pytest

from gostpy.errors import ProtocolError
from gostpy.wire.ssh import keyexchange
from gostpy.wire.ssh.fields import Fields
from gostpy.wire.ssh.messages import Message, Open
from tests.wire.sshrecords import FixedX25519, read_again, records, transport

RECORDS = [pytest.param(record, id=record["role"]) for record in records()]


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    monkeypatch.setattr(keyexchange, "_X25519", FixedX25519)


@pytest.mark.parametrize("record", RECORDS)
def test_what_gost_said_is_understood(record):
    assert [message.hex() for message in read_again(record)] == record["messages"]


@pytest.mark.parametrize("record", RECORDS)
def test_a_changed_byte_is_noticed(record):
    said = bytearray.fromhex(record["said"])
    said[-1] ^= 1
    side = transport(record["role"], bytes.fromhex(record["offer"]))
    with pytest.raises(ProtocolError):
        side.feed(said)


def messages(role):
    (found,) = [record["messages"] for record in records() if record["role"] == role]
    return [bytes.fromhex(message) for message in found]


def test_a_client_of_gost():
    """It asks without a password first; its tunnels have no fields."""
    said = messages("server")
    assert [message[0] for message in said[:3]] == [5, 50, 50]
    assert said[1].endswith(b"\0\0\0\4none")
    assert said[2].endswith(b"\0\0\0\x08password\0\0\0\0\2pw")
    (asked,) = [Open.read(Fields(message, 1)) for message in said if message[0] == 90]
    assert (asked.kind, asked.window, asked.packet) == ("gost-tunnel", 2097152, 32768)
    assert not asked.fields


def test_a_server_of_gost():
    said = messages("client")
    kinds = [message[0] for message in said]
    assert kinds[:2] == [Message.SERVICE_ACCEPT, Message.USERAUTH_SUCCESS]
    assert {Message.REQUEST_FAILURE, Message.OPEN_FAILURE, Message.CLOSE} <= set(kinds)
    refused = Fields(said[kinds.index(Message.OPEN_FAILURE)], 1)
    assert (refused.uint32(), refused.uint32()) == (4, 3)
    assert refused.text() == "unsupported channel type: session"
