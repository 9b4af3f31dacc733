"""A signal to one rank of many ends them all at the same batch, with one checkpoint."""

import signal
from pathlib import Path

import pytest
import torch

from tests.rank_processes import start
from tests.training.test_interrupt import NAMES, train

PROGRAM = """
import sys
from pathlib import Path

from gru_parallel.ranks import Launch, join
from gru_parallel.training.interrupt import InterruptedRunError, StopAtInterrupt
from gru_parallel.training.process_strategy import ProcessStrategy
from tests.interrupts import SendSignal
from tests.training.test_interrupt import PLAN, train

path, hook, batch, name = Path({path!r}), {hook!r}, {batch}, {name!r}
launch = Launch.from_environment()
with join(launch, timeout_s=60) as ranks:
    callbacks = [StopAtInterrupt(path)]
    if ranks.rank == 1:
        callbacks.append(SendSignal(batch, hook, times=2, name=name))
    try:
        train(callbacks=callbacks, strategy=ProcessStrategy(PLAN, ranks))
    except InterruptedRunError as error:
        print(error)
        status = error.status
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("name", "hook", "batch", "n_done"),
    [
        ("SIGINT", "on_train_batch_start", 6, 7),
        ("SIGTERM", "on_validation_batch_start", 4, 5),
        # Sent after the rank has asked, so that it stops at the next batch.
        ("SIGUSR1", "on_train_batch_end", 2, 4),
    ],
)
def test_a_signal_to_one_rank_ends_all_and_the_run_goes_on_in_one_process(
    name: str, hook: str, batch: int, n_done: int, tmp_path: Path
) -> None:
    path = tmp_path / "last.ckpt"

    with start(2, PROGRAM.format(path=str(path), hook=hook, batch=batch, name=name)) as ranks:
        ended = ranks.ends()

    for rank in ended:
        assert rank.status == 128 + signal.Signals[name], rank.stderr
        assert rank.stdout.startswith(f"Stopped by {NAMES[name]} after step {n_done};")
    straight, resumed = train(), train(ckpt_path=path)
    assert torch.equal(resumed.losses, straight.losses[n_done:])
    for key, weight in straight.weights.items():
        assert torch.equal(resumed.weights[key], weight), key
