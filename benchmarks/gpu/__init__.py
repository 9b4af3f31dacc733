"""Measures the pipeline against nn.GRU on GPUs: `python -m benchmarks gpu`. See README.md."""
