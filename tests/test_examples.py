"""The examples run, those printed in the documentation too, and what they show is so."""

import re
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
from torch import nn

from gru_parallel.engine.workers import Workers
from gru_parallel.schedule import Timeline
from tests.rank_processes import start

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGE = ROOT / "docs" / "your-own-series.md"


def run_example(name: str) -> list[str]:
    # A rank alone, to spare the import of torch.
    with start(1, [str(EXAMPLES / name)]) as processes:
        (ended,) = processes.ends()
    assert (ended.status, ended.stderr) == (0, "")
    return ended.stdout.splitlines()


def test_the_drop_in_trains_to_the_losses_of_nn_gru() -> None:
    heading, *rows, last = run_example("drop_in.py")

    assert heading.split() == ["step", "nn.GRU", "gru_parallel.GRU"]
    losses = [[float(loss) for loss in row.split()[1:]] for row in rows]
    assert len(losses) == 12
    assert all(abs(found - expected) <= 1e-5 * expected for expected, found in losses)
    assert losses[-1][0] < losses[0][0] / 2
    assert last.endswith(": the same")


def test_the_training_loop_is_the_same_with_a_process_a_stage_which_saves_all_weights() -> None:
    with start(2, [str(EXAMPLES / "ranks.py")]) as processes:
        *rows, last = run_example("train_loop.py")
        first, second = processes.ends()

    assert len(rows) == 20
    assert last == "predictions: (64, 24, 1)"
    assert first.stderr == second.stderr == second.stdout == ""
    *of_ranks, of_saved = first.stdout.splitlines()
    assert of_ranks == [row.partition("  bubble")[0] for row in rows] + [last]
    assert of_saved == "those of ranks.pt in one process: the same"


def test_the_training_loop_prints_bubbles_where_steps_are_replayed_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_thread_left: None
) -> None:
    run = Workers.run

    def replay(*args: Any, wait: bool = False, **options: Any) -> Timeline | None:
        timeline = run(*args, wait=wait, **options)
        # As on GPUs: what is replayed without being timed has none.
        return timeline if wait else None

    monkeypatch.setattr(Workers, "run", replay)
    one_step = {"range": lambda _: range(1)}
    run_path(str(EXAMPLES / "train_loop.py"), one_step, "__main__")

    assert capsys.readouterr().out.count("  bubble ") == 1


def python_of(page: str) -> list[str]:
    """The blocks of Python on a page of the documentation, as printed."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def run_block(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def test_the_readmes_drop_in_trains_as_printed_and_goes_to_nn_gru_and_back() -> None:
    drop_in, _ = python_of("README.md")

    names = run_block(drop_in)

    assert type(names["one"]) is nn.GRU
    output, _ = names["one"](names["x"])
    torch.testing.assert_close(names["gru"](names["x"])[0], output)
    torch.testing.assert_close(names["again"](names["x"])[0], output)


def test_the_readmes_whole_model_trains_and_forecasts_as_printed(no_thread_left: None) -> None:
    _, whole = python_of("README.md")

    names = run_block(whole)

    assert names["forecast"].shape == (64, 24, 1)
    assert all(weight.grad is not None for weight in names["model"].parameters())


def test_the_drop_in_of_the_packages_description_runs_as_printed() -> None:
    (drop_in,) = python_of("docs/package.md")

    assert type(run_block(drop_in)["one"]) is nn.GRU


def test_the_python_of_the_page_on_the_api_runs_as_printed() -> None:
    (with_lightning,) = python_of("docs/api.md")

    run_block(with_lightning)


def test_the_drop_in_of_its_page_runs_as_printed_and_goes_to_nn_gru_and_back() -> None:
    names = run_block("".join(python_of("docs/in-place-of-nn-gru.md")))

    assert names["forecast"].shape == (32, 1)
    assert type(names["one"]) is nn.GRU


def test_the_series_of_the_page_on_own_series_are_those_that_are_shown(in_tmp_path: Path) -> None:
    make_series, make_shops = python_of("docs/your-own-series.md")
    first = re.search(r"^time,demand.*?(?=```)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    shops = re.search(r"^date,shop.*?\n(.*?)(?=```)", PAGE.read_text(), re.DOTALL | re.MULTILINE)

    run_block(make_series)
    run_block(make_shops)

    assert first is not None
    assert Path("demand.csv").read_text().startswith(first[0])
    assert shops is not None
    assert shops[1] in Path("shops.csv").read_text()


def test_every_example_is_run() -> None:
    here = Path(__file__).read_text()

    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in here] == []
