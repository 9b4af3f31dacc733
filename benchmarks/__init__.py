"""Measures the pipeline against one nn.GRU; `python -m benchmarks speed` runs it. See README.md."""
