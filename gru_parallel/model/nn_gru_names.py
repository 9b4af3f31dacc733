"""The names that the parameters of blocks have in one `nn.GRU` of the whole stack."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gru_parallel.model.block import Block

_OF_A_LAYER = re.compile(r"(weight|bias)_(ih|hh)_l\d+|h_0_l\d+|norm_(weight|bias)_l\d+")
"""The names of weights, biases, learned states and norms, which have one of each per layer."""


def names_of_stack(blocks: Sequence[Block]) -> dict[str, str]:
    """Map each name in a stack's state dict, `blocks.0.parts.0...`, to its name in `nn.GRU`."""
    return {
        f"blocks.{index}.{ours}": name
        for index, block in enumerate(blocks)
        for ours, name in names_of_block(block).items()
    }


def names_of_block(block: Block) -> dict[str, str]:
    """Map each name in the block's state dict to its name in the `nn.GRU` of the whole stack.

    What `nn.GRU` does not have is called likewise: learned states `h_0_l0` and `h_0_l0_reverse`,
    norms `norm_weight_l0` and `norm_bias_l0`.
    """
    names = {}
    parts = zip(block.gru_parts, block.part_names, strict=True)
    for index, (part, (first, suffix)) in enumerate(parts):
        for name in filter(_OF_A_LAYER.search, part.state_dict()):
            renamed = _count_from(block.first_layer + first, name, suffix)
            names[f"parts.{index}.{name}"] = renamed
    others = (name for name in block.state_dict() if not name.startswith("parts."))
    of_layers = filter(_OF_A_LAYER.search, others)
    return names | {name: _count_from(block.first_layer, name) for name in of_layers}


def _count_from(first_layer: int, name: str, suffix: str = "") -> str:
    """Add to the number of the layer in a name: weight_ih_l0 and 3 give weight_ih_l3.

    It may be in the middle of the name, as in the names of parametrizations.
    """
    return re.sub(r"_l(\d+)", lambda layer: f"_l{first_layer + int(layer[1])}{suffix}", name)
