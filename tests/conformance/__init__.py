"""The conformance suite: scenarios as data, played with every assignment of implementations.

scenario.py reads testdata/scenarios, targets.py has the servers behind the proxies, traffic.py the
checks, play.py starts nodes and plays cells, report.py writes the matrix.
"""
