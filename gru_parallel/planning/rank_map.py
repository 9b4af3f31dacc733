"""Which rank of a replica runs which stage: a rank a device of the plan."""

from gru_parallel.placement.plan import Plan


def places_of_stages(plan: Plan) -> tuple[int, ...]:
    """Give each device of a plan to one rank, in the order in which the stages name them.

    Stages on one device share a rank, so a plan with as many devices as stages has a rank a stage.

    Returns:
        For each stage, the place in its replica of the rank that runs it, counted from 0.
    """
    devices = list(dict.fromkeys(plan.devices))
    return tuple(devices.index(device) for device in plan.devices)


def n_places(plan: Plan) -> int:
    """Return the number of ranks that one replica of a plan needs."""
    return len(set(plan.devices))
