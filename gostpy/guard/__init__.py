"""Guards: who may connect, how much and how fast. They sit at three points, see guard/points.py."""
