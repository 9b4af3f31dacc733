from multiprocessing import Pipe

from benchmarks.gpu.crew import joined, receive_all
from benchmarks.gpu.numbers import Reading

ONE, OTHER = Reading((1.0, 4.0), (0.5, 1.0), 7, 3), Reading((2.0, 3.0), (0.1, 2.0), 5, 4)


def test_a_step_of_ranks_lasts_as_long_as_the_slowest() -> None:
    assert joined([ONE, OTHER]) == Reading((2.0, 4.0), (0.5, 2.0), 7, 4)


def test_readings_come_in_the_order_of_the_ranks() -> None:
    (ours, theirs), (our_second, their_second) = Pipe(), Pipe()
    their_second.send(OTHER)
    theirs.send(ONE)

    assert receive_all([ours, our_second], 10.0) == [ONE, OTHER]


def test_one_rank_that_failed_is_enough_to_know_why() -> None:
    (ours, _waits), (our_second, their_second) = Pipe(), Pipe()
    their_second.send("out of memory")

    assert receive_all([ours, our_second], 10.0) == "out of memory"


def test_a_process_that_has_ended_or_does_not_answer_gives_nothing() -> None:
    (ours, theirs), (silent, _waits) = Pipe(), Pipe()
    theirs.close()

    assert receive_all([ours], 10.0) is None
    assert receive_all([silent], 0.0) is None
