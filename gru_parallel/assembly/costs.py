"""From the settings to how long things take: measured now, measured before, or estimated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gru_parallel.assembly.workload import number_type
from gru_parallel.choices import AUTO, core_on
from gru_parallel.config.schema import Config, ProcessesConfig
from gru_parallel.engine.devices import n_cores
from gru_parallel.errors import UsageError
from gru_parallel.placement import Cluster
from gru_parallel.planning.analytic import ANALYTIC, AnalyticCosts
from gru_parallel.planning.cell_costs import CostModel, Workload
from gru_parallel.planning.profile import MeasuredCosts
from gru_parallel.planning.stage_times import encoder_of, head_of, layer_kinds
from gru_parallel.profiling.cache import check_cache, load_profile, profile_path, store_profile
from gru_parallel.profiling.machine import describe_machine

_CORES = (AUTO, "lean")


def costs_of(
    config: Config, workload: Workload, cluster: Cluster, cores: Sequence[str], *, replays: bool
) -> CostModel:
    """Choose the costs that plan=... asks for.

    Devices that are described cannot be measured, so their costs are estimated.

    Args:
        config: the run's settings.
        workload: what is trained.
        cluster: the devices that may be used.
        cores: that layers may have.
        replays: whether accelerators replay recorded steps.

    Raises:
        UsageError: what is described, or is a rank's, is to be measured, or nothing can be kept.
    """
    if config.plan == "measure" and not cluster.is_local:
        raise UsageError(
            f"plan=measure measures the devices of this machine, and cluster={config.cluster.name}"
            " describes devices; use cluster=local, or plan=analytic, which estimates."
        )
    if config.plan == "analytic" or not cluster.is_local:
        return _estimated(config, workload, cluster, replays=replays)
    if all(device.is_cpu for device in cluster.devices):
        # Both of this library's cores in any case, so that one profile does for either.
        cores = tuple(dict.fromkeys((*_CORES, *cores)))
    key = _key(config, workload, cluster, cores, replays=replays)
    profile = None if config.plan == "measure" else load_profile(key)
    if profile is None and config.plan == "measure":
        if isinstance(config.engine, ProcessesConfig):
            raise UsageError(
                "plan=measure measures in one process, which ranks would disturb; measure with"
                " gru_parallel.plan plan=measure engine=threads and the same model, data,"
                " trainer and optimizer settings, engine.tf32 and engine.graphs, and train with"
                " plan=cached."
            )
        check_cache()
        # Not at the top: it is with torch, which a plan need not have.
        from gru_parallel.assembly.measured import measure_profile

        profile = measure_profile(config, workload, cluster, cores, key, replays=replays)
        store_profile(profile)
    if profile is None:
        is_damaged = profile_path(key).exists()
        words = "what was measured cannot be read" if is_damaged else "not measured here"
        source = f"analytic ({words}: plan=measure)"
        return _estimated(config, workload, cluster, source, replays=replays)
    return MeasuredCosts(profile, cluster, isinstance(config.engine, ProcessesConfig))


def _estimated(
    config: Config, workload: Workload, cluster: Cluster, source: str = ANALYTIC, *, replays: bool
) -> CostModel:
    return AnalyticCosts(
        cluster,
        number_type(config),
        graphs=replays,
        n_weight_copies=workload.n_weight_copies,
        bytes_per_number=workload.bytes_per_number,
        source=source,
    )


def _key(
    config: Config, workload: Workload, cluster: Cluster, cores: Sequence[str], *, replays: bool
) -> dict[str, Any]:
    """Say all that measured times depend on."""
    model = workload.model
    ends = [None if end is None else asdict(end) for end in (encoder_of(model), head_of(model))]
    kinds = list({device.kind: device for device in cluster.devices}.values())
    own = sorted({core_on(device.name, core) for device in kinds for core in cores})
    return {
        "machine": describe_machine(cluster),
        "layers": [asdict(kind) for kind in dict.fromkeys(layer_kinds(model, "native"))],
        "ends": ends,
        "cores": own,
        "busy": min(n_cores(), len(model.blocks)),
        "rows": workload.n_rows,
        "steps": workload.n_steps,
        # Not where there are none, so that what was measured before is still found.
        **({"steps_after": model.n_decoding} if model.n_decoding > 0 else {}),
        "precision": str(config.trainer.precision),
        "tf32": config.engine.tf32,
        "graphs": replays,
        "optimizer": _without_rate(config.optimizer),
        "loss": config.model.loss,
    }


def _without_rate(optimizer: DictConfig) -> dict[str, Any]:
    """Return the optimiser's settings but for the rate, on which nothing depends that is timed."""
    settings: Any = OmegaConf.to_container(optimizer, resolve=True)
    settings.pop("lr", None)
    return dict(settings)
