"""What nn.GRU refuses, the drop-in refuses with the same kind of error."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from gru_parallel import GRU
from gru_parallel.errors import UsageError
from tests.dropin.twins import CUTS, make_twins, refusal


def ones(*shape: int, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Tensor:
    return torch.ones(*shape, dtype=dtype, device=device)


WRONG_CALLS: dict[str, Callable[[Any], object]] = {
    "input of 0 dimensions": lambda gru: gru(torch.tensor(1.0)),
    "input of 1 dimension": lambda gru: gru(ones(3)),
    "input of 4 dimensions": lambda gru: gru(ones(1, 5, 3, 3)),
    "input of another size": lambda gru: gru(ones(5, 3, 2)),
    "unbatched input of another size": lambda gru: gru(ones(5, 2)),
    "input of another type": lambda gru: gru(ones(5, 3, 3, dtype=torch.float32)),
    "input of whole numbers": lambda gru: gru(ones(5, 3, 3, dtype=torch.int64)),
    "input of truth values": lambda gru: gru(ones(5, 3, 3, dtype=torch.bool)),
    "complex input": lambda gru: gru(ones(5, 3, 3, dtype=torch.complex128)),
    "input on no device": lambda gru: gru(ones(5, 3, 3, device="meta")),
    "input that is sparse": lambda gru: gru(ones(5, 3, 3).to_sparse()),
    "input that is a list": lambda gru: gru([[1.0]]),
    "input that is an array": lambda gru: gru(ones(5, 3, 3).numpy()),
    "input that is None": lambda gru: gru(None),
    "no step": lambda gru: gru(ones(0, 3, 3)),
    "no step, unbatched": lambda gru: gru(ones(0, 3)),
    "no step and no row": lambda gru: gru(ones(0, 0, 3)),
    "state of too few layers": lambda gru: gru(ones(5, 3, 3), ones(1, 3, 4)),
    "state of another batch": lambda gru: gru(ones(5, 3, 3), ones(2, 4, 4)),
    "state of another size": lambda gru: gru(ones(5, 3, 3), ones(2, 3, 5)),
    "state of 1 dimension": lambda gru: gru(ones(5, 3, 3), ones(2)),
    "unbatched state": lambda gru: gru(ones(5, 3, 3), ones(2, 4)),
    "batched state of one sequence": lambda gru: gru(ones(5, 3), ones(2, 1, 4)),
    "unbatched state of another size": lambda gru: gru(ones(5, 3), ones(2, 5)),
    "state of another type": lambda gru: gru(ones(5, 3, 3), ones(2, 3, 4, dtype=torch.float32)),
    "state of whole numbers": lambda gru: gru(ones(5, 3, 3), ones(2, 3, 4, dtype=torch.int64)),
    "state on no device": lambda gru: gru(ones(5, 3, 3), ones(2, 3, 4, device="meta")),
    "state as an LSTM's": lambda gru: gru(ones(5, 3, 3), (ones(2, 3, 4), ones(2, 3, 4))),
    "no input": lambda gru: gru(),
    "an argument too many": lambda gru: gru(ones(5, 3, 3), None, None),
    "an unknown argument": lambda gru: gru(ones(5, 3, 3), h_0=None),
    "packed input of another size": lambda gru: gru(pack_sequence([ones(4, 2)])),
    "packed input of 1 dimension": lambda gru: gru(pack_sequence([ones(4)])),
    "packed input of 3 dimensions": lambda gru: gru(pack_sequence([ones(4, 2, 3)])),
    "packed input of another type": lambda gru: gru(
        pack_sequence([ones(4, 3, dtype=torch.float32)])
    ),
    "state of another batch than packed": lambda gru: gru(
        pack_sequence([ones(4, 3)]), ones(2, 2, 4)
    ),
    "state of another type than packed": lambda gru: gru(
        pack_sequence([ones(4, 3), ones(2, 3)]), ones(2, 2, 4, dtype=torch.float32)
    ),
}
MESSAGE_IS_TORCHS = {"input on no device", "input that is sparse", "state on no device"}
"""Here torch speaks of where the drop-in has noticed it."""


@pytest.mark.parametrize("call", WRONG_CALLS)
@pytest.mark.parametrize("cut", ["in one piece", "two devices, zero bubble"])
def test_a_wrong_call_is_refused_as_by_nn_gru(cut: str, call: str) -> None:
    plain, ours = make_twins(CUTS[cut])
    wanted, expected = refusal(lambda: WRONG_CALLS[call](plain))

    found, actual = refusal(lambda: WRONG_CALLS[call](ours))

    assert issubclass(found, wanted)
    if call not in MESSAGE_IS_TORCHS:
        assert actual == expected


WRONG_OPTIONS: dict[str, dict[str, Any]] = {
    "input_size=0": {"input_size": 0},
    "input_size=-1": {"input_size": -1},
    "input_size=2.0": {"input_size": 2.0},
    "hidden_size=0": {"hidden_size": 0},
    "hidden_size=2.0": {"hidden_size": 2.0},
    "num_layers=0": {"num_layers": 0},
    "num_layers=1.5": {"num_layers": 1.5},
    "bias=1": {"bias": 1},
    "batch_first=None": {"batch_first": None},
    "dropout=-0.1": {"dropout": -0.1},
    "dropout=1.1": {"dropout": 1.1},
    "dropout=True": {"dropout": True},
    "dropout=a": {"dropout": "a"},
    "proj_size=1": {"proj_size": 1},
    "dtype=int64": {"dtype": torch.int64},
    "device=nowhere": {"device": "nowhere"},
    "unknown": {"layers": 2},
}


@pytest.mark.parametrize("options", WRONG_OPTIONS)
def test_wrong_options_are_refused_as_by_nn_gru(options: str) -> None:
    given = {"input_size": 3, "hidden_size": 4, "num_layers": 2, **WRONG_OPTIONS[options]}

    assert refusal(lambda: GRU(**given)) == refusal(lambda: nn.GRU(**given))


def test_too_few_options_are_refused_as_by_nn_gru() -> None:
    assert refusal(lambda: GRU(3)) == refusal(lambda: nn.GRU(3))


WRONG_EXTRAS: dict[str, tuple[dict[str, Any], str]] = {
    "no block": ({"blocks": 0}, "blocks=0"),
    "half a block": ({"blocks": 0.5}, "blocks=0.5"),
    "no chunk": ({"n_chunks": 0}, "n_chunks=0"),
    "no micro-batch": ({"n_micro_batches": -1}, "n_micro_batches=-1"),
    "a name and no map": ({"device_map": "cpu:0"}, "device_map"),
    "too few devices": ({"device_map": ["cpu:0"]}, "^device_map=.cpu:0. has 1 entry.* each blocks"),
    "two devices for one direction": ({"device_map": ["cpu:0+cpu:1"] * 2}, "^device_map gives bl"),
    "a device that is not there": ({"device_map": ["cpu:0", "cuda:99"]}, "cuda:99"),
    "a device that comes back": (
        {"device_map": ["cpu:0", "cpu:1", "cpu:0"], "num_layers": 3},
        "cpu:0",
    ),
    "an unknown schedule": ({"schedule": "gpipes"}, "gpipe"),
    "an unknown core": ({"core": "leen"}, "^core='leen': use one of auto, native, fused, lean"),
    "weights' gradients that cannot wait": (
        {"schedule": "zero_bubble", "core": "native"},
        "^schedule=zero_bubble .* which core=native cannot; use core=fused or core=lean",
    ),
}


@pytest.mark.parametrize("extras", WRONG_EXTRAS)
def test_a_cut_that_cannot_work_is_refused_at_once(extras: str) -> None:
    options, said = WRONG_EXTRAS[extras]

    with pytest.raises(UsageError, match=said):
        GRU(3, 4, **{"num_layers": 2, **options})


def test_one_layer_with_dropout_is_warned_of_as_by_nn_gru() -> None:
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        gru = GRU(3, 4, dropout=0.5)

    # Copies were warned of once.
    GRU.from_torch(gru).to_torch()


def test_only_a_gru_can_be_taken_over() -> None:
    with pytest.raises(TypeError, match="LSTM"):
        GRU.from_torch(nn.LSTM(3, 4))


def test_an_error_in_a_worker_says_where() -> None:
    _, ours = make_twins(CUTS["two devices"])

    with pytest.raises(RuntimeError) as caught:
        ours(ones(5, 3, 3), ones(2, 3, 4, dtype=torch.float32))

    (note,) = caught.value.__notes__
    assert note.startswith("while stage 0 on cpu:0 ran 0F0.0")
