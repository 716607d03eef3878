"""Speed and quality, measured: `python -m benchmarks NAME [--quick] [--data DIR] [--json FILE]`."""
