"""docs/extending.md: the package that it shows works as printed, in a pipeline and by its names."""

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import GRUStack, StackModel, Windows
from gru_parallel.own_names import own
from gru_parallel.schedule import build_schedule, simulate
from tests.builders import (
    HIDDEN,
    HORIZON,
    N_CHANNELS,
    N_TARGETS,
    WIDTH,
    assert_gradients_close,
    gradients_of,
    make_batch,
    make_plan,
    relative_error,
)
from tests.cli.in_process import SMALL, RunCommand, losses_of, summary_of
from tests.test_examples import python_of

SCHEDULE, CORE = "my_parts.schedule.two_waves", "my_parts.core.offload"
OWN = (
    f"schedule.name={SCHEDULE}",
    "schedule.n_micro_batches=2",
    "model.head=my_parts.head.DeepHead",
    "model.loss=my_parts.loss.log_cosh",
    f"model.core={CORE}",
    "data=own",
    "data.source=my_parts.data.pendulums",
    "data.arguments={n_rows: 260}",
    *(setting for setting in SMALL if not setting.startswith("data.n_")),
)


@pytest.fixture(scope="module", autouse=True)
def my_parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package of the page, where Python finds it."""
    folder = tmp_path_factory.mktemp("own")
    for code in python_of("docs/extending.md"):
        path = folder / code.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    own.cache_clear()
    build_schedule.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_parts"]:
        del sys.modules[name]


def test_own_head_loss_core_and_schedule_in_a_pipeline_give_what_one_piece_gives(
    no_thread_left: None,
) -> None:
    head = import_module("my_parts.head").DeepHead
    loss = import_module("my_parts.loss").log_cosh
    models = []
    for core in ("native", CORE):
        torch.manual_seed(1)
        stack = GRUStack(WIDTH, HIDDEN, 4, core=core)
        parts = nn.Linear(N_CHANNELS, WIDTH), stack, head(HIDDEN, (HORIZON, N_TARGETS))
        models.append(StackModel(*parts).double())
    one, cut = models
    x, y = make_batch()
    expected = (one(x) - y).cosh().log().mean()
    expected.backward()

    plan = make_plan([2, 2], SCHEDULE, 3, 4)
    with ThreadEngine(cut, plan, loss) as engine:
        found = engine.train_step(Windows(x, y), 0)
        found.backward()
        predictions = engine.predict(Windows(x))

    assert relative_error(found, expected) <= 1e-12
    assert relative_error(predictions, one(x)) <= 1e-12
    assert_gradients_close(gradients_of(cut), gradients_of(one), 1e-12)


def test_the_schedule_keeps_half_as_much_as_gpipe() -> None:
    kept = {
        name: simulate(build_schedule(name, 2, 4, 2), lambda _: 1.0).peak_activations(0)
        for name in ("gpipe", SCHEDULE)
    }

    assert kept == {"gpipe": 8, SCHEDULE: 4}


def test_a_run_of_own_parts_trains_and_is_used_again(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    one = train_command(*OWN, "placement.device_map=[0,0,0,0]", run="one")
    two = train_command(*OWN, "placement.device_map=[0,0,1,1]", run="two")

    assert losses_of(one) == losses_of(two)
    assert summary_of(one)["test_metrics"] == summary_of(two)["test_metrics"]
    again = use_command("evaluate", "run=two")
    assert "The same as in the summary of the run" in again.out, again.err
    assert use_command("backtest", "run=two").status == 0
    assert use_command("predict", "run=two", "output=next.csv").status == 0
    # Three pendulums, two steps ahead, below the names of the columns.
    assert len(Path("next.csv").read_text().splitlines()) == 1 + 3 * 2
    refused = use_command("export", "run=two", "format=torch")
    assert refused.status == 2
    assert "an export is for the encoders and heads of this library" in refused.err


def test_a_plan_counts_an_own_core_and_an_own_schedule(plan_command: RunCommand) -> None:
    ended = plan_command(*OWN)

    assert ended.status == 0, ended.err
    assert f"schedule: {SCHEDULE}" in ended.out
    assert f"core: {CORE}" in ended.out


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.head=my_parts.head.Missing", "cannot be imported"),
        ("model.loss=nowhere.loss", "cannot be imported (ModuleNotFoundError"),
        ("model.loss=my_parts.head.DeepHead", "is a type without total, count; name a SumLoss"),
        ("model.head=my_parts.loss.log_cosh", "name a class of heads"),
        ("model.head=gru_parallel.DecoderHead", "is a kind of DecoderHead, or does not"),
        ("model.core=my_parts.core.Offload", "name an object of a class of cores"),
        ("schedule.name=my_parts.core.offload", "without __call__; name a function"),
        ("data.source=pendulums", "is not a full name"),
        ("data.source=builtins.dict", "name a function"),
        ("data.arguments={n: 3}", "it takes (n_rows: int"),
        ("data.source=my_parts.schedule.two_waves", "it takes (n_stages: int"),
        ("data.target=x9", "x9"),
        ("model.loss=huper", "or package.module.name, one of your own"),
    ],
)
def test_what_cannot_be_a_part_is_refused(
    setting: str, message: str, train_command: RunCommand
) -> None:
    key = setting.partition("=")[0]
    ended = train_command(*(each for each in OWN if not each.startswith(f"{key}=")), setting)

    assert ended.status == 2
    assert message in re.sub(r"\s+", " ", ended.err)
    assert "Traceback" not in ended.err
    assert not ended.folder.exists()
