import socket

from benchmarks.loopback import HOST, rank_environment, reserve_port
from gru_parallel.ranks import Launch


def test_a_reserved_port_can_be_listened_at_while_it_is_kept_from_others() -> None:
    holder, port = reserve_port()
    with holder, socket.socket() as store:
        store.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        store.bind((HOST, port))
        store.listen()
        other_holder, other_port = reserve_port()
        other_holder.close()
        assert other_port != port


def test_the_environment_of_a_rank_is_what_a_launcher_gives() -> None:
    launch = Launch.from_environment(rank_environment(1, 2, 29_500))
    assert launch is not None
    assert (launch.rank, launch.world_size, launch.address) == (1, 2, f"{HOST}:29500")
