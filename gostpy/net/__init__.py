"""Sockets and the hub: endpoints, conns, the pipe, dialing, listening, timers."""
