"""Things that users do to a model before they train it, and the numbers that training then leaves.

Each twist changes a model, whatever runs it; what comes out of plain training is what must come out
of every engine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.parametrize import register_parametrization

from gru_parallel.model import StackModel
from tests.builders import build_model, make_batch

LEARNING_RATE = 0.05
N_STEPS = 3

Run = Callable[[Tensor, Tensor, int], Tensor]
"""From a batch and the number of the step to a loss."""


@dataclass
class Seen:
    """What came out of some steps.

    Attributes:
        numbers: losses, gradients and weights, under names of their own.
        calls: for each weight with a hook, how often it was called and what it saw.
    """

    numbers: dict[str, Tensor] = field(default_factory=dict)
    calls: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))


Twist = Callable[[StackModel, Seen], None]


def own_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Those that are here, and not in the hands of another rank; by name, a shared one once."""
    return {name: w for name, w in model.named_parameters() if not w.is_meta}


def nothing(model: StackModel, seen: Seen) -> None:
    """Train as it is."""


def hooks_that_look(model: StackModel, seen: Seen) -> None:
    for name, weight in own_weights(model).items():
        weight.register_hook(lambda g, name=name: seen.calls[name].append(g.clone()))


def hooks_that_double(model: StackModel, seen: Seen) -> None:
    for weight in own_weights(model).values():
        weight.register_hook(lambda g: 2 * g)


def hooks_that_clamp(model: StackModel, seen: Seen) -> None:
    for weight in own_weights(model).values():
        weight.register_hook(lambda g: g.clamp(-0.01, 0.01))


def hooks_after_accumulation(model: StackModel, seen: Seen) -> None:
    for name, weight in own_weights(model).items():
        weight.register_post_accumulate_grad_hook(
            lambda w, name=name: seen.calls[name].append(w.grad.clone())
        )


def hooks_on_the_accumulation(model: StackModel, seen: Seen) -> None:
    """As wrappers for data parallelism have them: on the node that adds to `.grad`."""
    for name, weight in own_weights(model).items():
        node = weight.view_as(weight).grad_fn.next_functions[0][0]
        node.register_hook(lambda *_, name=name: seen.calls[name].append(torch.ones(1)))
        # It goes with the last one who knows it.
        seen.calls[f"{name} node"] = []
        weight.__dict__["node"] = node


def optimiser_inside_backward(model: StackModel, seen: Seen) -> None:
    for weight in own_weights(model).values():
        optimiser = torch.optim.SGD([weight], lr=LEARNING_RATE)

        def step(w: Tensor, optimiser: torch.optim.Optimizer = optimiser) -> None:
            optimiser.step()

        weight.register_post_accumulate_grad_hook(step)


class Tanh(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.tanh()


def part_of(model: StackModel, block: int) -> nn.GRU:
    return model.gru.gru_blocks[block].gru_parts[0]


def weight_norm(model: StackModel, seen: Seen) -> None:
    for block in (0, 3):
        parametrizations.weight_norm(part_of(model, block), "weight_hh_l0")
    parametrizations.weight_norm(model.head.linear)
    parametrizations.weight_norm(model.encoder)


def weight_norm_of_old(model: StackModel, seen: Seen) -> None:
    for block in (0, 3):
        nn.utils.weight_norm(part_of(model, block), "weight_hh_l0")
    nn.utils.weight_norm(model.head.linear)
    nn.utils.weight_norm(model.encoder)


def orthogonal(model: StackModel, seen: Seen) -> None:
    register_parametrization(part_of(model, 1), "weight_hh_l0", Tanh())
    parametrizations.orthogonal(part_of(model, 3), "weight_hh_l0", use_trivialization=False)


def spectral_norm(model: StackModel, seen: Seen) -> None:
    """Each call in training turns its estimate on by a step."""
    for block in (1, 2):
        parametrizations.spectral_norm(part_of(model, block), "weight_hh_l0")
    parametrizations.spectral_norm(model.head.linear)


def spectral_norm_of_old(model: StackModel, seen: Seen) -> None:
    nn.utils.spectral_norm(part_of(model, 1), "weight_hh_l0")
    nn.utils.spectral_norm(model.head.linear)


def pruned(model: StackModel, seen: Seen) -> None:
    prune.l1_unstructured(part_of(model, 2), "weight_hh_l0", amount=0.3)
    prune.random_unstructured(part_of(model, 0), "weight_ih_l0", amount=0.3)
    prune.l1_unstructured(model.head.linear, "weight", amount=0.3)


def weight_drop(model: StackModel, seen: Seen) -> None:
    """Merity's: a mask times the raw weight, drawn anew before each forward."""
    for block in (0, 3):
        part = part_of(model, block)
        raw = part.weight_hh_l0
        del part.weight_hh_l0
        part.register_parameter("weight_hh_l0_raw", nn.Parameter(raw.detach()))

        def drop(part: nn.Module, inputs: object) -> None:
            part.weight_hh_l0 = nn.functional.dropout(part.weight_hh_l0_raw, 0.5)

        drop(part, ())
        part.register_forward_pre_hook(drop)


def shared_in_a_stage(model: StackModel, seen: Seen) -> None:
    part_of(model, 1).weight_hh_l0 = part_of(model, 0).weight_hh_l0


def shared_in_a_block(model: StackModel, seen: Seen) -> None:
    part = part_of(model, 1)
    part.bias_hh_l0 = part.bias_ih_l0


def shared_by_all(model: StackModel, seen: Seen) -> None:
    first = part_of(model, 0)
    for block in (1, 2, 3):
        part_of(model, block).weight_hh_l0 = first.weight_hh_l0


def shared_by_ends(model: StackModel, seen: Seen) -> None:
    """Between the first stage and the last, encoder and head among them."""
    part_of(model, 3).bias_hh_l0 = part_of(model, 0).bias_hh_l0
    model.head.linear.bias = nn.Parameter(
        model.head.linear.bias.detach()[: len(model.encoder.bias)]
    )
    model.head.linear.weight = nn.Parameter(
        model.head.linear.weight.detach()[: len(model.encoder.bias)]
    )
    model.head.output_shape = (3, 2)
    model.encoder.bias = model.head.linear.bias


def frozen(model: StackModel, seen: Seen) -> None:
    model.encoder.requires_grad_(False)
    model.gru.gru_blocks[0].requires_grad_(False)
    part_of(model, 2).weight_hh_l0.requires_grad_(False)
    model.head.linear.bias.requires_grad_(False)


class MinimalGRU(nn.GRU):
    """A core of another kind: a GRU with a single gate."""

    stepwise = True

    def forward(self, x: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run one layer over a piece of a sequence."""
        assert hx is not None
        h, outputs = hx[0], []
        for of_step in nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0):
            of_state = nn.functional.linear(h, self.weight_hh_l0, self.bias_hh_l0)
            gate, new = (of_step + of_state).chunk(3, dim=-1)[1:]
            h = torch.lerp(new.tanh(), h, gate.sigmoid())
            outputs.append(h)
        return torch.stack(outputs), h.unsqueeze(0)


def core_of_ones_own(model: StackModel, seen: Seen) -> None:
    for block in (1, 2):
        old = part_of(model, block)
        new = MinimalGRU(old.input_size, old.hidden_size).to(old.weight_ih_l0)
        new.load_state_dict(old.state_dict())
        model.gru.gru_blocks[block].parts[0] = new


TWISTS: dict[str, Twist] = {
    twist.__name__: twist
    for twist in (
        nothing,
        hooks_that_look,
        hooks_that_double,
        hooks_that_clamp,
        hooks_after_accumulation,
        hooks_on_the_accumulation,
        optimiser_inside_backward,
        weight_norm,
        weight_norm_of_old,
        orthogonal,
        spectral_norm,
        spectral_norm_of_old,
        pruned,
        weight_drop,
        shared_in_a_stage,
        shared_in_a_block,
        shared_by_all,
        shared_by_ends,
        frozen,
        core_of_ones_own,
    )
}
ACROSS_STAGES = ("shared_by_all", "shared_by_ends")
"""Ranks refuse these."""
OF_RANKS = tuple(name for name in TWISTS if name not in (*ACROSS_STAGES, "weight_drop"))
"""What a rank draws at random it draws for its own stages alone, so weight drop is another."""
OF_REPLICAS = ("hooks_that_look", "hooks_that_clamp", "weight_norm", "shared_in_a_stage")


@contextmanager
def twisted(name: str, **options: Any) -> Iterator[tuple[StackModel, Seen]]:
    """Build a model and do something to it, with torch's random numbers at a known place."""
    model, seen = build_model(**options), Seen()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        TWISTS[name](model, seen)
        torch.manual_seed(6)
        yield model, seen


def train(name: str, model: StackModel, seen: Seen, run: Run, rows: slice = slice(None)) -> Seen:
    """Take some steps.

    Args:
        name: of the twist.
        model: whose weights are looked at.
        seen: where what comes out is kept.
        run: what gives the loss.
        rows: of each batch, those that come here.
    """
    weights = own_weights(model)
    for step in range(N_STEPS):
        x, y = make_batch(seed=step)
        x, y = x[rows], y[rows, :3] if name == "shared_by_ends" else y[rows]
        model.zero_grad()
        run(x, y, step).backward()
        for own, weight in weights.items():
            if weight.grad is not None:
                seen.numbers[f"gradient {step} of {own}"] = weight.grad.clone()
        if name != "optimiser_inside_backward":
            with torch.no_grad():
                for weight in weights.values():
                    if weight.grad is not None:
                        weight.sub_(weight.grad, alpha=LEARNING_RATE)
    seen.numbers |= {f"weight {own}": weight.detach().clone() for own, weight in weights.items()}
    seen.numbers |= {
        f"buffer {own}": b.clone() for own, b in model.named_buffers() if not b.is_meta
    }
    return seen


def train_plainly(name: str) -> Seen:
    """Train as plain PyTorch does on one device: what every engine must come to."""
    with twisted(name) as (model, seen):
        return train(name, model, seen, lambda x, y, _: nn.functional.mse_loss(model(x), y))
