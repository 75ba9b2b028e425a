"""The published studies at demo scale, each preempted once: `python -m benchmarks.published --help`."""
