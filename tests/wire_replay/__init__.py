"""Exchanges recorded from gost 3.2.6, replayed against gostpy in both roles.

exchange.py has the format of testdata/wire, layers.py and shadow.py what lies around the recorded
bytes (TLS, WebSocket, Shadowsocks), drives.py the traffic at the entry, cases.py what was recorded,
recorder.py how (scripts/record_wire.py), replay.py the two roles.
"""
