from datetime import timedelta
from typing import Any

import pytest

from benchmarks.peers import pipelining_subject
from benchmarks.peers.pipelining_subject import PipeliningSubject
from tests.benchmarks.rank_gradients import PEERS, SHAPE
from tests.rank_processes import start


def test_the_peer_and_the_processes_engine_find_the_loss_and_gradients_of_nn_gru() -> None:
    with start(2, ["-m", "tests.benchmarks.rank_gradients"]) as ranks:
        for ended in ranks.ends(within_s=60.0):
            assert ended.status == 0, ended.stderr
            assert f"{len(PEERS)} of the peer" in ended.stdout


def test_ranks_of_the_peer_do_not_wait_for_each_other_for_half_an_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Asked(Exception):
        pass

    def ask(*_: object, timeout: timedelta, **__: Any) -> None:
        assert timeout <= timedelta(minutes=1)
        raise Asked

    monkeypatch.setattr(pipelining_subject.dist, "init_process_group", ask)
    with pytest.raises(Asked):
        PipeliningSubject(PEERS[0], SHAPE)
