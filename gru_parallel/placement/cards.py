"""What is known of kinds of devices: how fast each is with the layers of a GRU.

Rates of products and times of steps and cells were measured on one H200 (torch 2.11, cuDNN 9.19,
CUDA graphs, 2026-11-27: the tables of docs/gpus.md and benchmarks/README.md), and nowhere else.
Rates of memory are those of NVIDIA's data sheets, for the SXM form of each card.
"""

from gru_parallel.placement.cluster import CPU_SPEED, Speed

# Measured on an H200, with TF32: a step of a layer takes 9.2 microseconds in F and B, and products
# run at 90 TFLOP/s, 18 % of the 495 of the data sheet. An H100 computes with the same chip.
_HOPPER_FLOPS_PER_S = 9e13
_HOPPER_CELL_MS = 0.01
_HOPPER_STEP_MS = 0.0046

SPEEDS: dict[str, Speed] = {
    "cpu": CPU_SPEED,
    # 80 GB of HBM3 at 3.35 TB/s.
    "h100": Speed(_HOPPER_FLOPS_PER_S, 3.35e12, _HOPPER_CELL_MS, _HOPPER_STEP_MS),
    # 141 GB of HBM3e at 4.8 TB/s.
    "h200": Speed(_HOPPER_FLOPS_PER_S, 4.8e12, _HOPPER_CELL_MS, _HOPPER_STEP_MS),
    # 80 GB of HBM2e at 2.04 TB/s. Assumed: 18 % of the 156 TFLOP/s of its data sheet for TF32, and
    # times 1.4 times as long as an H100's, as its clock is slower (1.41 instead of 1.98 GHz).
    "a100": Speed(2.8e13, 2.04e12, 1.4 * _HOPPER_CELL_MS, 1.4 * _HOPPER_STEP_MS),
}
"""The speed of each kind that is known."""


def kind_of(name: str) -> str:
    """Return the kind of a card by the name that its driver gives it.

    "NVIDIA H100 80GB HBM3" is an "h100"; of a card that is not known, it is the whole name.
    """
    words = name.lower().replace("-", " ").split()
    return next((kind for kind in SPEEDS if kind in words), name)
