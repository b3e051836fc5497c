"""Figures, not verdicts: each prints ours beside a baseline of the same run, with the machine's load."""
