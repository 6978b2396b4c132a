"""Wire formats, sans-IO: messages, codecs and state machines. No sockets, no clock."""
