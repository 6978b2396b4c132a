"""What can be seen from outside: logs, metrics, recorders, observers."""
