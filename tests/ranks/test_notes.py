import threading
from collections.abc import Callable
from contextlib import suppress

from gru_parallel.ranks.notes import Notes


def in_a_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_rank_does_what_it_began_last_of_what_still_goes_on() -> None:
    notes = Notes()
    with notes.waiting("a tensor"):
        waits = notes.of_rank()
        in_a_thread(lambda: notes.note("work in another thread"))
        works = notes.of_rank()

    assert (waits.what, waits.waits) == ("a tensor", True)
    assert (works.what, works.waits) == ("work in another thread", False)


def test_a_finished_worker_does_not_hide_that_the_rank_waits() -> None:
    notes = Notes()
    in_a_thread(lambda: notes.note("its last action"))
    with notes.waiting("the end of the step"):
        assert notes.of_rank().what == "the end of the step"


def test_after_a_wait_a_thread_goes_on_with_what_it_did() -> None:
    notes = Notes()
    notes.note("2F0.3")
    with notes.waiting("outside"):
        with notes.waiting("inside"):
            inside = notes.of_thread().what
        outside = notes.of_thread().what

    assert (inside, outside) == ("inside", "outside")
    assert (notes.of_thread().what, notes.of_thread().waits) == ("2F0.3", False)
    assert notes.longest_wait() is None


def test_after_a_wait_a_thread_without_a_note_does_what_the_rank_did_last() -> None:
    notes = Notes()
    with notes.waiting("all ranks to connect"):
        pass
    in_a_thread(lambda: notes.note("2F0.3"))
    with notes.waiting("the end of the step"):
        pass

    assert notes.of_thread().what == notes.of_rank().what == "2F0.3"


def test_each_thread_has_a_note_of_its_own() -> None:
    notes = Notes()
    notes.note("mine")
    in_a_thread(lambda: notes.note("another's"))

    assert notes.of_thread().what == "mine"
    assert notes.of_rank().what == "another's"


def test_after_something_that_is_done_a_rank_does_what_it_did_before() -> None:
    notes = Notes()
    in_a_thread(lambda: notes.note("2F0.3"))
    with notes.doing("it wrote a file"):
        during = notes.of_thread().what
        with notes.waiting("another rank"):
            pass
        after_a_wait = notes.of_rank().what

    assert during == after_a_wait == "it wrote a file"
    assert notes.of_thread().what == notes.of_rank().what == "2F0.3"


def test_what_failed_is_what_a_rank_still_does() -> None:
    notes = Notes()
    with suppress(OSError), notes.doing("it wrote a file"):
        raise OSError

    assert notes.of_thread().what == "it wrote a file"
