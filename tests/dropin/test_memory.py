"""What a pass keeps goes as soon as autograd lets it go, with no garbage collector."""

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from gru_parallel.stage.stage_pass import StagePass
from tests.dropin.twins import CUTS, make_twins, make_x, weighted_sum
from tests.eventually import eventually

Passes = weakref.WeakSet[StagePass]


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Passes]:
    """The passes that are alive, while nothing collects garbage."""
    passes: Passes = weakref.WeakSet()
    make = StagePass.__init__

    def noted(own: StagePass, *args: Any) -> None:
        make(own, *args)
        passes.add(own)

    monkeypatch.setattr(StagePass, "__init__", noted)
    gc.disable()
    yield passes
    gc.enable()


EVERY_CUT = pytest.mark.parametrize("cut", CUTS)
BOTH_WAYS = pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])


@EVERY_CUT
@BOTH_WAYS
def test_nothing_stays_after_backward(cut: str, bidirectional: bool, alive: Passes) -> None:
    _, ours = make_twins(CUTS[cut], bidirectional=bidirectional)
    out = ours(make_x().requires_grad_())
    loss = weighted_sum(out)
    assert len(alive) > 0

    loss.backward()

    assert eventually(lambda: len(alive) == 0)


@EVERY_CUT
@BOTH_WAYS
def test_nothing_stays_when_the_outputs_are_dropped(
    cut: str, bidirectional: bool, alive: Passes
) -> None:
    _, ours = make_twins(CUTS[cut], bidirectional=bidirectional)
    y, h_n = ours(make_x())
    del y
    assert len(alive) > 0

    del h_n

    assert eventually(lambda: len(alive) == 0)


@EVERY_CUT
def test_a_kept_graph_stays_until_it_is_dropped(cut: str, alive: Passes) -> None:
    _, ours = make_twins(CUTS[cut])
    loss = weighted_sum(ours(make_x()))
    loss.backward(retain_graph=True)
    assert len(alive) > 0

    del loss

    assert eventually(lambda: len(alive) == 0)


@EVERY_CUT
def test_nothing_stays_where_no_gradient_is_wanted(cut: str, alive: Passes) -> None:
    _, ours = make_twins(CUTS[cut])
    with torch.no_grad():
        out = ours(make_x())

    assert eventually(lambda: len(alive) == 0)
    assert len(out) == 2


@EVERY_CUT
def test_nothing_stays_of_packed_sequences(cut: str, alive: Passes) -> None:
    _, ours = make_twins(CUTS[cut])
    output, _ = ours(pack_sequence([make_x(4, 3), make_x(2, 3)]))

    output.data.sum().backward()

    assert eventually(lambda: len(alive) == 0)


@EVERY_CUT
def test_the_graph_behind_the_input_goes_with_backward(cut: str, alive: Passes) -> None:
    _, ours = make_twins(CUTS[cut])
    x = make_x().requires_grad_()
    # exp keeps its result, which is this tensor and what the GRU is given.
    given = x.exp()
    data = weakref.ref(given)
    out = ours(given)
    del given
    assert data() is not None

    weighted_sum(out).backward()

    # A worker may be about to let go.
    assert eventually(lambda: data() is None)


@EVERY_CUT
def test_a_checkpoint_that_is_reentrant_keeps_nothing_until_backward(
    cut: str, alive: Passes
) -> None:
    _, ours = make_twins(CUTS[cut])
    x = make_x().requires_grad_()
    y, h_n = torch.utils.checkpoint.checkpoint(ours, x, use_reentrant=True)
    assert eventually(lambda: len(alive) == 0)

    weighted_sum([y, h_n]).backward()

    assert eventually(lambda: len(alive) == 0)
    assert x.grad is not None


def test_nothing_stays_of_a_refused_second_derivative(alive: Passes) -> None:
    _, ours = make_twins(CUTS["two devices"])
    loss = weighted_sum(ours(make_x()))
    with pytest.raises(RuntimeError, match="first derivatives"):
        loss.backward(create_graph=True)

    del loss

    assert eventually(lambda: len(alive) == 0)
