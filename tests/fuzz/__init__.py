"""What strangers send, made up by the million: `python -m tests.fuzz`, or a few of each in `tests/test_fuzz.py`."""
