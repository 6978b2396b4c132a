"""Speed of gostpy beside gost, in one run, alternating; ratios with their spread."""
