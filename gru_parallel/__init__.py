"""Train stacks of GRUs over several devices, with the numbers that one `nn.GRU` would give."""

from typing import TYPE_CHECKING

from gru_parallel.lazy import lazily

if TYPE_CHECKING:
    from gru_parallel.assembly.finished_run import open_run as open_run
    from gru_parallel.assembly.forecast import forecast as forecast
    from gru_parallel.dropin.gru import GRU as GRU
    from gru_parallel.engine.devices import existing_devices as existing_devices
    from gru_parallel.engine.threads import ThreadEngine as ThreadEngine
    from gru_parallel.model.head import DecoderHead as DecoderHead
    from gru_parallel.model.head import StepHead as StepHead
    from gru_parallel.model.head import WindowHead as WindowHead
    from gru_parallel.model.loss import LOSSES as LOSSES
    from gru_parallel.model.output import NegativeBinomialOutput as NegativeBinomialOutput
    from gru_parallel.model.output import NormalOutput as NormalOutput
    from gru_parallel.model.output import QuantileOutput as QuantileOutput
    from gru_parallel.model.stack import GRUStack as GRUStack
    from gru_parallel.model.stack_model import StackModel as StackModel
    from gru_parallel.model.step_encoder import StepEncoder as StepEncoder
    from gru_parallel.model.window_view import WindowView as WindowView
    from gru_parallel.model.windows import Windows as Windows
    from gru_parallel.placement.grid import Grid as Grid
    from gru_parallel.placement.plan import Plan as Plan
    from gru_parallel.planning.planner import plan_from_device_map as plan_from_device_map
    from gru_parallel.training.module import SeriesModule as SeriesModule
    from gru_parallel.training.strategy import PipelineStrategy as PipelineStrategy
    from gru_parallel.version import __version__ as __version__
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "assembly.finished_run": "open_run",
            "assembly.forecast": "forecast",
            "dropin.gru": "GRU",
            "engine.devices": "existing_devices",
            "engine.threads": "ThreadEngine",
            "model.head": "DecoderHead StepHead WindowHead",
            "model.loss": "LOSSES",
            "model.output": "NegativeBinomialOutput NormalOutput QuantileOutput",
            "model.stack": "GRUStack",
            "model.stack_model": "StackModel",
            "model.step_encoder": "StepEncoder",
            "model.window_view": "WindowView",
            "model.windows": "Windows",
            "placement.grid": "Grid",
            "placement.plan": "Plan",
            "planning.planner": "plan_from_device_map",
            "training.module": "SeriesModule",
            "training.strategy": "PipelineStrategy",
            "version": "__version__",
        },
    )
