"""Ours, the peer's and the limit side by side: `make bench`, or `python -m benchmarks NAME …`."""
