"""Measures the pipeline against one nn.GRU; `python -m benchmarks` runs it. See README.md."""
