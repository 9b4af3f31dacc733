"""Where a run begins."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from gru_parallel.assembly.start import Start, build_start
from gru_parallel.training.checkpoint_file import read_checkpoint
from tests.builders import make_plan
from tests.runs import SaveAfter, fit, make_data, make_module


def test_it_knows_when_the_weights_were_written_that_it_has(tmp_path: Path) -> None:
    path = tmp_path / "first.ckpt"
    fit(make_plan([4]), make_module(), callbacks=[SaveAfter(1, path)], max_steps=1)
    data = SimpleNamespace(scaling="standardize")
    config = cast(
        "Any",
        SimpleNamespace(ckpt_path=None, init_from=path, init_from_scaling="refit", data=data),
    )

    start = build_start(config, make_module(), make_data())

    assert start.saved_at == read_checkpoint(path)["saved_at"] > 0
    config.init_from = None
    assert build_start(config, make_module(), make_data()) == Start()
