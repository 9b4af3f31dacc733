"""A module comes back from the path of its checkpoint alone, and nothing in the file is run."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from gru_parallel.errors import UsageError
from gru_parallel.model import NormalOutput, SumLoss, WindowHead
from gru_parallel.training import SeriesModule
from tests.builders import HIDDEN, HORIZON, N_TARGETS, build_model, make_plan
from tests.runs import SaveAfter, fit, make_data, make_module, make_trainer

adamw: Callable[..., Optimizer] = partial(AdamW, lr=1e-2, betas=(0.8, 0.9))


def test_a_loaded_module_tests_as_the_one_that_was_trained(tmp_path: Path) -> None:
    path, plan = tmp_path / "a.ckpt", make_plan([2, 2], n_chunks=3)
    run = fit(plan, make_module(adamw, dropout=0.2, seed=7), callbacks=[SaveAfter(10, path)])
    (expected,) = run.trainer.test(run.module, make_data(), verbose=False)

    loaded = SeriesModule.load_from_checkpoint(path)

    (found,) = make_trainer(plan).test(loaded, make_data(), verbose=False)
    assert found == expected
    assert loaded.seed == 7
    optimizer = loaded.make_optimizer(list(loaded.parameters()))
    assert type(optimizer) is AdamW
    assert optimizer.defaults["betas"] == (0.8, 0.9)


def test_what_is_given_counts_for_more(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    fit(None, make_module(adamw), callbacks=[SaveAfter(10, path)])

    with path.open("rb") as file:
        loaded = SeriesModule.load_from_checkpoint(file, make_optimizer=partial(SGD, lr=0.1))

    assert type(loaded.make_optimizer(list(loaded.parameters()))) is SGD


def test_an_output_of_several_numbers_comes_back_with_its_loss(tmp_path: Path) -> None:
    path, output = tmp_path / "a.ckpt", NormalOutput((0.2, 0.8))
    model = build_model(dtype=torch.float32)
    model.head = WindowHead(HIDDEN, (HORIZON, 2 * N_TARGETS))
    model.output = output
    assert output.loss is not None
    run = fit(
        None, SeriesModule(model, output.loss, adamw), callbacks=[SaveAfter(5, path)], max_epochs=1
    )
    (expected,) = run.trainer.test(run.module, make_data(), verbose=False)

    loaded = SeriesModule.load_from_checkpoint(path)

    assert loaded.model.output == output
    assert loaded.loss.name == "normal"
    (found,) = make_trainer(None).test(loaded, make_data(), verbose=False)
    assert found == expected


class Own(SGD):
    """An optimiser that torch does not have."""


def module_with(part: str) -> SeriesModule:
    module = make_module(Own if part == "make_optimizer" else SGD)
    if part == "model":
        module.model.encoder = nn.Sequential(module.model.encoder)
    if part == "loss":
        own = SumLoss("mse", lambda a, b: (a - b).square().sum(), torch.numel)
        return SeriesModule(module.model, own, SGD)
    return module


@pytest.mark.parametrize("part", ["model", "loss", "make_optimizer"])
def test_what_only_the_user_has_is_asked_for(part: str, tmp_path: Path) -> None:
    path, module = tmp_path / "a.ckpt", module_with(part)
    fit(None, module, callbacks=[SaveAfter(5, path)], max_epochs=1)

    with pytest.raises(
        UsageError, match=rf"tell how to create the module's {part}: .+{part}=\.\.\."
    ):
        SeriesModule.load_from_checkpoint(path)

    given = {part: getattr(module, part)}
    loaded = SeriesModule.load_from_checkpoint(path, **given)
    expected = torch.load(path, weights_only=True)["state_dict"]
    assert all(torch.equal(w, expected[name]) for name, w in loaded.state_dict().items())


@pytest.mark.parametrize("name", ["os.system", "torch.optim.adamw.system", "torch.hub.load"])
def test_a_class_that_a_file_names_is_none_but_of_torch(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    fit(None, callbacks=[SaveAfter(5, path)], max_epochs=1)
    saved = torch.load(path, weights_only=True)
    saved["beginning"]["optimizer"] = name
    torch.save(saved, path)

    with pytest.raises(
        UsageError, match=r"make_optimizer: the optimiser is not one of torch\.optim"
    ):
        SeriesModule.load_from_checkpoint(path)
