"""What every test may use: the skip of `gpu` tests, settings of hypothesis, general fixtures."""

import gc
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from tempfile import gettempdir

import pytest
from hypothesis import settings

# One intra-op thread for torch, here and in every process that a test starts: with models as small
# as these a second one only waits for the first, by spinning, most of all on a busy machine.
os.environ["OMP_NUM_THREADS"] = "1"

# Plans are made from estimates, whatever was measured on this machine before; nothing is there.
os.environ["GRU_PARALLEL_CACHE"] = str(Path(gettempdir()) / f"gru_parallel-tests-{os.getpid()}")

# Where this is set, here to what it is anyway, commands leave the allocator as it is: tests of
# memory run in the same process as tests of commands.
os.environ["MALLOC_ARENA_TEST"] = "8"

# No deadline: a shared machine can make any example slow. CI draws the same examples every time.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

THREADS_END_WITHIN_S = 5.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests of the engines run once more, on recorded calls."""
    parser.addoption(
        "--graphs", action="store_true", help="record each call at once, and replay it"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Record from the first call on, and on the CPU too, where that was asked for."""
    if config.getoption("graphs"):
        from gru_parallel.engine import graphs

        graphs.BY_DEFAULT = frozenset({"cuda", "cpu"})
        graphs.N_EAGER = 0
        # Where code of a test's own is the reason.
        ignored = "ignore:The engine goes without CUDA graphs"
        config.addinivalue_line("filterwarnings", ignored)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` where there is no CUDA GPU."""
    if config.getoption("graphs"):
        eager = pytest.mark.skip(reason="looks at what a replay does otherwise, and may")
        for item in items:
            if item.get_closest_marker("eager"):
                item.add_marker(eager)
    gpu_tests = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu_tests or _has_gpu():
        return
    skip = pytest.mark.skip(reason="needs a CUDA GPU")
    for item in gpu_tests:
        item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the garbage collector what is imported meanwhile: most of what it would go through."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def _has_gpu() -> bool:
    # Imported here because it takes seconds, and most of the pure tests never need it.
    import torch

    return torch.cuda.is_available()


@pytest.fixture
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the test inside an empty folder, for code that writes where it is started."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    """Fail the test if a thread that it started is still alive a few seconds after its end."""
    # A test before this one may have left an engine to the garbage collector, with its workers.
    if workers := [t for t in threading.enumerate() if t.name.startswith("gru_parallel")]:
        gc.collect()
        _still_alive(workers)
    before = set(threading.enumerate())
    yield
    left = _still_alive([t for t in threading.enumerate() if t not in before])
    assert not left, f"threads left behind: {', '.join(left)}"


def _still_alive(threads: list[threading.Thread]) -> list[str]:
    """Wait for threads that are about to end, and name those that have not."""
    end = time.monotonic() + THREADS_END_WITHIN_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return [thread.name for thread in threads if thread.is_alive()]


@pytest.fixture(scope="module")
def little_to_collect() -> None:
    """Spare garbage collections what is there; each recording of calls starts with one."""
    import torch

    # Optimizers import much at the first of them.
    torch.optim.SGD([torch.zeros(1)])
    gc.collect()
    gc.freeze()


@pytest.fixture
def no_tf32() -> Iterator[None]:
    """Let cuDNN compute float32 in float32."""
    import torch

    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture
def interrupts_raise() -> Iterator[None]:
    """Have Ctrl-C raise KeyboardInterrupt, which Python leaves out in background processes."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
