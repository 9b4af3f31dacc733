"""Lightning does the loop: the module, the strategy that runs it through a pipeline, callbacks."""

from typing import TYPE_CHECKING

from gru_parallel.lazy import lazily

if TYPE_CHECKING:
    from gru_parallel.training.module import SeriesModule as SeriesModule
    from gru_parallel.training.strategy import PipelineStrategy as PipelineStrategy
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "module": "SeriesModule",
            "strategy": "PipelineStrategy",
        },
    )
