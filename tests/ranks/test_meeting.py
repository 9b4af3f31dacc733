import socket

from tests.rank_processes import start

JOIN = """
import os
from gru_parallel.errors import UsageError
from gru_parallel.ranks import Launch, RankError, join

try:
    join(Launch.from_environment(), timeout_s=float(os.environ["TIMEOUT_S"]))
except (UsageError, RankError) as error:
    print(type(error).__name__, error)
"""


def test_an_occupied_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with start(2, JOIN, port=port, environment={"TIMEOUT_S": "0.5"}) as processes:
            host, other = processes.ends()

    assert f"UsageError Rank 0 must be able to host the store of the run at 127.0.0.1:{port}" in (
        host.stdout
    )
    assert "choose one that is free with torchrun --master-port" in host.stdout
    assert f"RankError waited for rank 0 at 127.0.0.1:{port}" in other.stdout


def test_ranks_that_do_not_come_are_counted_and_one_that_comes_twice_is_refused() -> None:
    with start(3, JOIN, ranks=[0, 1, 1], environment={"TIMEOUT_S": "2"}) as processes:
        said = sorted(one.stdout for one in processes.ends())

    for text in said[:2]:
        assert text.startswith("RankError 2 of 3 ranks have come to 127.0.0.1:")
        assert (
            "within 2 s, without rank 2; start all of them, or give them more time with engine"
            in text
        )
    assert said[2].startswith("UsageError Each rank must be one process, and another has come")
