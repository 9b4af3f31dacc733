import threading
from collections.abc import Callable
from contextlib import suppress

from gru_parallel.ranks.activity_log import ActivityLog


def in_a_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_rank_does_what_it_began_last_of_what_still_goes_on() -> None:
    log = ActivityLog()
    with log.waiting("a tensor"):
        waits = log.of_rank()
        in_a_thread(lambda: log.record("work in another thread"))
        works = log.of_rank()

    assert (waits.what, waits.waits) == ("a tensor", True)
    assert (works.what, works.waits) == ("work in another thread", False)


def test_a_finished_worker_does_not_hide_that_the_rank_waits() -> None:
    log = ActivityLog()
    in_a_thread(lambda: log.record("its last action"))
    with log.waiting("the end of the step"):
        assert log.of_rank().what == "the end of the step"


def test_after_a_wait_a_thread_resumes_what_it_did() -> None:
    log = ActivityLog()
    log.record("2F0.3")
    with log.waiting("outside"):
        with log.waiting("inside"):
            inside = log.of_thread().what
        outside = log.of_thread().what

    assert (inside, outside) == ("inside", "outside")
    assert (log.of_thread().what, log.of_thread().waits) == ("2F0.3", False)
    assert log.longest_wait() is None


def test_after_a_wait_a_thread_that_recorded_nothing_does_what_the_rank_did_last() -> None:
    log = ActivityLog()
    with log.waiting("all ranks to connect"):
        pass
    in_a_thread(lambda: log.record("2F0.3"))
    with log.waiting("the end of the step"):
        pass

    assert log.of_thread().what == log.of_rank().what == "2F0.3"


def test_each_thread_has_its_own_activity() -> None:
    log = ActivityLog()
    log.record("mine")
    in_a_thread(lambda: log.record("another's"))

    assert log.of_thread().what == "mine"
    assert log.of_rank().what == "another's"


def test_after_something_that_is_done_a_rank_does_what_it_did_before() -> None:
    log = ActivityLog()
    in_a_thread(lambda: log.record("2F0.3"))
    with log.doing("it wrote a file"):
        during = log.of_thread().what
        with log.waiting("another rank"):
            pass
        after_a_wait = log.of_rank().what

    assert during == after_a_wait == "it wrote a file"
    assert log.of_thread().what == log.of_rank().what == "2F0.3"


def test_what_failed_is_what_a_rank_still_does() -> None:
    log = ActivityLog()
    with suppress(OSError), log.doing("it wrote a file"):
        raise OSError

    assert log.of_thread().what == "it wrote a file"
