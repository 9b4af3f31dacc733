from tests.benchmarks.rank_gradients import PEERS
from tests.rank_processes import start


def test_the_peer_and_the_processes_engine_find_the_loss_and_gradients_of_nn_gru() -> None:
    with start(2, ["-m", "tests.benchmarks.rank_gradients"]) as ranks:
        for ended in ranks.ends(within_s=60.0):
            assert ended.status == 0, ended.stderr
            assert f"{len(PEERS)} of the peer" in ended.stdout
