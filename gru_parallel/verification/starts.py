"""Where h_0 may come from when one `nn.GRU` becomes several: the answers, measured.

All models here have the same weights and the same whole sequences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn

from gru_parallel.verification.chain import Found, PlainChain, run_blocks, run_plain
from gru_parallel.verification.difference import difference
from gru_parallel.verification.sequences import Sequences, draw_gru, draw_sequences, gradient
from gru_parallel.verification.settings import Settings

CLEARLY_DIFFERENT = 1e-3
"""How far apart outputs are at least that should differ, relative to the largest entry."""


@dataclass(frozen=True)
class Answer:
    """One comparison of several GRUs with something else.

    Attributes:
        made_of: "nn.GRU" for a chain of them, "blocks" for this library's.
        start: what each starts from.
        against: what it is compared with.
        output: difference of the outputs.
        gradients: largest difference of a gradient.
        should_equal: whether both should be equal, or differ.
    """

    made_of: str
    start: str
    against: str
    output: float
    gradients: float
    should_equal: bool

    def is_kept(self, tolerance: float) -> bool:
        """Whether results are equal or differ as they should."""
        if self.should_equal:
            return max(self.output, self.gradients) <= tolerance
        # What is no number, or has another shape, is infinitely different, and no answer.
        return CLEARLY_DIFFERENT < self.output < inf


def layers_each(num_layers: int) -> int:
    """Return the layers of each of several equal GRUs, of as few as possible."""
    return next(n for n in range(num_layers // 2, 0, -1) if num_layers % n == 0)


def measure_starts(settings: Settings) -> Iterator[Answer]:
    """Compare several GRUs with one, for all that the later ones may start from."""
    case = _Case(settings, draw_gru(settings), draw_sequences(settings))
    yield from _plain_answers(case)
    yield from _block_answers(case)
    yield _learned_answer(case)
    yield _carry_answer(case)


@dataclass(frozen=True)
class _Case:
    """One `nn.GRU`, a batch, and the ways to run them."""

    settings: Settings
    whole: nn.GRU
    batch: Sequences

    @property
    def each(self) -> int:
        return layers_each(self.settings.num_layers)

    @property
    def cleared(self) -> Tensor:
        """h_0 with zeros for all GRUs but the first."""
        return torch.cat(
            [self.batch.h_0[: self.each], torch.zeros_like(self.batch.h_0[self.each :])]
        )

    def one(self, h_0: Tensor | None) -> Found:
        return run_plain(self.whole, self.batch, h_0)

    def chain(self, later_start: str) -> Found:
        found = run_plain(
            PlainChain(self.whole, self.each, later_start), self.batch, self.batch.h_0
        )
        # The names differ, but not their order.
        names = [name for name, _ in self.whole.named_parameters()]
        return Found(found.output, dict(zip(names, found.gradients.values(), strict=True)))

    def blocks(
        self, first: str, later: str, *after: Sequences, learned: Tensor | None = None
    ) -> Found:
        policies = [first] + [later] * (self.settings.num_layers // self.each - 1)
        h_0 = self.batch.h_0 if first in ("given", "zeros") else None
        batches = (self.batch, *after)
        return run_blocks(self.whole, self.settings, self.each, policies, batches, h_0, learned)


def _plain_answers(case: _Case) -> Iterator[Answer]:
    from_h_0, zeros = case.one(case.batch.h_0), case.chain("zeros")
    yield _answer("nn.GRU", "(a) their part of h_0", "h_0", case.chain("given"), from_h_0)
    yield _answer("nn.GRU", "(b) zeros", "h_0, zeros there", zeros, case.one(case.cleared))
    yield _answer("nn.GRU", "(b) zeros", "h_0", zeros, from_h_0, equal=False)
    previous = case.chain("previous")
    yield _answer("nn.GRU", "(c) the h_n before them", "h_0", previous, from_h_0, equal=False)


def _block_answers(case: _Case) -> Iterator[Answer]:
    from_h_0 = case.one(case.batch.h_0)
    zeros, previous = case.blocks("given", "zeros"), case.blocks("given", "previous")
    yield _answer("blocks", "given", "h_0", case.blocks("given", "given"), from_h_0)
    yield _answer("blocks", "zeros", "no h_0", case.blocks("zeros", "zeros"), case.one(None))
    yield _answer("blocks", "given, zeros", "h_0, zeros there", zeros, case.one(case.cleared))
    yield _answer("blocks", "given, zeros", "h_0", zeros, from_h_0, equal=False)
    handed_on = case.chain("previous")
    yield _answer("blocks", "given, previous", "as in (c)", previous, handed_on)
    yield _answer("blocks", "given, previous", "h_0", previous, from_h_0, equal=False)


def _learned_answer(case: _Case) -> Answer:
    # Of any values: the zeros that training begins with would hide errors.
    states = case.batch.h_0[:, 0].clone().requires_grad_()
    h_0 = states.unsqueeze(1).expand(-1, case.settings.batch_size, -1).contiguous()
    one = case.one(h_0)
    learned = {f"h_0_l{k}": state for k, state in enumerate(gradient(states))}
    expected = Found(one.output, one.gradients | learned)
    found = case.blocks("learned", "learned", learned=states.detach())
    return _answer("blocks", "learned", "a parameter", found, expected)


def _carry_answer(case: _Case) -> Answer:
    after = draw_sequences(case.settings, number=1)
    _, h_n = case.whole(case.batch.x)
    expected = run_plain(case.whole, after, h_n.detach())
    found = case.blocks("carry", "carry", after)
    return _answer("blocks", "carry", "its last h_n, detached", found, expected)


def _answer(
    made_of: str, start: str, against: str, found: Found, expected: Found, *, equal: bool = True
) -> Answer:
    return Answer(
        made_of,
        start,
        against,
        output=difference(found.output, expected.output),
        gradients=max(
            difference(found.gradients[name], gradient)
            for name, gradient in expected.gradients.items()
        ),
        should_equal=equal,
    )
