"""The long version: FUZZ_CASES cases over all doors, each time others; FUZZ_SEED=7 for the same again. Any words are
passed on to pytest, such as -k pictures."""

import os
import sys

import pytest

if __name__ == "__main__":
    os.environ.setdefault("FUZZ_CASES", "40000")
    asked = ["-p", "no:xdist", "--tb=short", "--show-capture=no", "--durations=0", "--durations-min=600"]
    sys.exit(pytest.main(["tests/fuzz", *asked, *sys.argv[1:]]))
