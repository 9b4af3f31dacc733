"""Every recurrent call is one that cuDNN takes, too: whatever is cut, ragged, carried or given."""

from collections.abc import Callable, Iterator
from itertools import cycle, product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from gru_parallel.engine.engine import WholeEngine
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import Windows
from tests.builders import HIDDEN, MSE, build_model, gradients_of, make_batch, make_plan
from tests.cudnn_stand_in import Call, refuse_what_cudnn_refuses
from tests.dropin.twins import CUTS, make_twins, make_x, weighted_sum
from tests.dropin.twins import HIDDEN as WIDTH
from tests.grids import covering
from tests.processes.process_cases import CARRY, PREVIOUS, RAGGED

pytestmark = pytest.mark.usefixtures("no_thread_left")

BLOCKS: dict[str, dict[str, Any]] = {
    "one layer a block": {},
    "two layers a block": {"num_layers": 8, "layers_per_block": 2},
    "both ways, dropout": {"bidirectional": True, "dropout": 0.3},
    "both ways and one": {"bidirectional": (True, False, False, True)},
}
STARTS: dict[str, dict[str, Any]] = {
    "zeros": {"h_0": "zeros"},
    "given": {"h_0": "given"},
    "learned": {"h_0": ("learned", "given", "zeros", "learned")},
    "carry": CARRY,
    "previous": PREVIOUS,
}
CASES = [
    (blocks, start)
    for blocks, start in product(BLOCKS, STARTS)
    # A block starts from the h_n of one before with as many states.
    if (blocks, start) != ("both ways and one", "previous")
]
FEW = {*zip(cycle(BLOCKS), STARTS, strict=False)}
"""Every kind of block, and every start."""
LENGTHS = {"whole": None, "ragged": torch.tensor(RAGGED)}


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    """Keep torch to one intra-op thread: on a busy machine several wait for each other by far."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def calls() -> Iterator[list[Call]]:
    """The recurrent calls, which a test has to make."""
    with refuse_what_cudnn_refuses() as calls:
        yield calls
    assert calls


def train_and_predict(
    engine: ThreadEngine | WholeEngine,
    lengths: Tensor | None,
    dtype: torch.dtype = torch.float64,
) -> None:
    """Train on a batch and on a smaller one, and predict; what is carried goes from one on."""
    n_states = engine.model.gru.n_states
    for n_rows in (5, 3):
        x, y = make_batch(n_rows, dtype=dtype)
        beside: dict[str, Any] = {"lengths": None if lengths is None else lengths[:n_rows]}
        # A view, as of a state that is kept batch first.
        h_0 = torch.randn(n_rows, n_states, HIDDEN, dtype=dtype).transpose(0, 1)
        beside |= {"h_0": h_0.requires_grad_(), "reset": torch.arange(n_rows) == 1}
        engine.train_step(Windows(x, y, **beside)).backward()
        engine.predict(Windows(x, **beside))


@covering(1, case=CASES, lengths=LENGTHS)
def test_engines_call_as_cudnn_wants_it(case: tuple[str, str], lengths: str) -> None:
    blocks, start = case
    options = BLOCKS[blocks] | STARTS[start]
    layers = {"layers_per_block": options.get("layers_per_block", 1)}
    train_and_predict(WholeEngine(build_model(**options), MSE), LENGTHS[lengths])
    plan = make_plan([2, 2], "one_f_one_b", 2, 3, **layers)
    with ThreadEngine(build_model(**options), plan, MSE) as engine:
        train_and_predict(engine, LENGTHS[lengths])


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[] if case in FEW else [pytest.mark.long]) for case in CASES],
    ids=" ".join,
)
def test_under_autocast_every_call_is_in_the_type_that_was_asked_for(
    case: tuple[str, str], lengths: str, calls: list[Call]
) -> None:
    blocks, start = case
    options = BLOCKS[blocks] | STARTS[start] | {"dtype": torch.float32}
    plan = make_plan([4], "one_f_one_b", 2, 3, layers_per_block=options.get("layers_per_block", 1))
    whole = WholeEngine(build_model(**options), MSE)
    with ThreadEngine(build_model(**options), plan, MSE) as engine:
        for each in (whole, engine):
            with torch.autocast("cpu", torch.bfloat16):
                train_and_predict(each, LENGTHS[lengths], torch.float32)
            gradients = gradients_of(each.model).values()
            assert {g.dtype for g in gradients if g is not None} == {torch.float32}

    assert {call.dtype for call in calls} == {torch.bfloat16}


def packed(x: Tensor) -> Any:
    return pack_padded_sequence(x, torch.tensor([2, 5, 1, 5]), enforce_sorted=False)


INPUTS: dict[str, tuple[dict[str, Any], Callable[[], Any]]] = {
    "time first": ({}, lambda: make_x(5, 4, 3)),
    "a view": ({}, lambda: make_x(3, 4, 5).permute(2, 1, 0)),
    "batch first": ({"batch_first": True}, lambda: make_x(4, 5, 3)),
    "one sequence": ({}, lambda: make_x(5, 3)),
    "packed": ({}, lambda: packed(make_x(5, 4, 3))),
    "no row": ({}, lambda: make_x(5, 0, 3)),
}


@covering(
    2,
    name=INPUTS,
    cut=["in one piece", "in the caller's thread", "two devices"],
    bidirectional=[False, True],
    gives_h_0=[False, True],
)
def test_the_drop_in_calls_as_cudnn_wants_it(
    name: str, cut: str, bidirectional: bool, gives_h_0: bool
) -> None:
    options, make_input = INPUTS[name]
    extras = {"blocks": 2, **CUTS[cut]}
    if "device_map" in extras:
        options = {**options, "num_layers": 4}
    _, ours = make_twins(extras, bidirectional=bidirectional, **options)
    x = make_input()
    h_0 = None
    if gives_h_0:
        n_rows = 4 if not isinstance(x, Tensor) else x.shape[0 if ours.batch_first else 1]
        n_states = ours.num_layers * (1 + bidirectional)
        h_0 = make_x(n_rows, n_states, WIDTH).transpose(0, 1)
        h_0 = h_0[:, 0] if isinstance(x, Tensor) and x.dim() == 2 else h_0
    output, h_n = ours(x, h_0)
    loss = weighted_sum([output if isinstance(output, Tensor) else output.data, h_n])
    loss.backward()
    with torch.no_grad():
        ours.eval()(x, h_0)


@pytest.mark.parametrize("gives_h_0", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("cut", [*CUTS][:3])
@pytest.mark.parametrize("n_rows", [0, 4])
def test_under_autocast_every_call_of_the_drop_in_is_in_its_type(
    n_rows: int, cut: str, gives_h_0: bool, calls: list[Call]
) -> None:
    _, ours = make_twins({"blocks": 2, **CUTS[cut]}, num_layers=4, dtype=torch.float32)
    x = make_x(5, n_rows, 3, dtype=torch.float32).requires_grad_()
    h_0 = make_x(4, n_rows, WIDTH, dtype=torch.float32) if gives_h_0 else None
    with torch.autocast("cpu", torch.bfloat16):
        y, h_n = ours(x, h_0)
    (y.float().sum() + h_n.float().sum()).backward()

    assert {call.dtype for call in calls} == {torch.bfloat16}
    assert {weight.grad.dtype for weight in ours.parameters()} == {torch.float32}
