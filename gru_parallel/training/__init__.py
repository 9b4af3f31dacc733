"""Lightning does the loop: the module, the strategy that runs it through a pipeline, callbacks."""

from gru_parallel.training.module import SeriesModule
from gru_parallel.training.strategy import PipelineStrategy

__all__ = ["PipelineStrategy", "SeriesModule"]
