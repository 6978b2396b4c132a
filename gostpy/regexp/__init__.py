"""Go regular expressions (RE2 syntax) as a yes-or-no test, in time linear in the subject.

Rules in gost configurations are written for Go, whose engine cannot be made slow by a subject. The
standard ``re`` can, and subjects (hosts, paths, headers) come from peers. So an expression becomes
a small automaton here; see automaton.py.
"""

from gostpy.regexp.automaton import Regexp

__all__ = ["Regexp"]
