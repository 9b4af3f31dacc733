import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.resident import CLEAR_REFS

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_a_quick_run_measures_every_kind_of_variant() -> None:
    done = run("speed", "--quick")
    assert done.returncode == 0, done.stderr
    for name in ("nn.GRU 1 thread", "nn.GRU 2 threads", "pipeline M=2 C=1", "pipeline M=1 C=4"):
        assert name in done.stdout
    # More than two where the machine is disturbed.
    assert re.search(r"\d rounds", done.stdout)


@pytest.mark.long
def test_a_quick_run_of_unequal_lengths_measures_nn_gru_and_the_drop_in() -> None:
    done = run("packed", "--quick")
    assert done.returncode == 0, done.stderr
    for name in ("nn.GRU 1 thread, packed", "nn.GRU 1 thread, padded", "2 stages M=1 C=8"):
        assert name in done.stdout
    assert "lengths 1 to 16" in done.stdout


@pytest.mark.long
def test_a_quick_run_of_peers_measures_every_system_and_another_build() -> None:
    done = run("peers", "--quick", "--against", str(ROOT))
    assert done.returncode == 0, done.stderr
    for name in (
        "model parallel",
        "threads fused gpipe M=1",
        "processes fused gpipe M=1",
        "torch pipelining gpipe M=2",
        "threads of",
        "every plan once",
    ):
        assert name in done.stdout
    # More than two where the machine is disturbed.
    assert re.search(r"\d rounds", done.stdout)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "words"), [("cells", "in chunks of 6"), ("scaling", "T=32, L=4: MiB")]
)
def test_a_quick_run_of_one_process_per_variant(name: str, words: str) -> None:
    done = run(name, "--quick")
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    # More than two where the machine is disturbed.
    assert re.search(r"\d rounds", done.stdout)


@pytest.mark.long
def test_a_quick_run_for_gpus_measures_graphs_stages_and_the_peer_on_the_cpu() -> None:
    done = run("gpu", "--quick", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    for name in ("nn.GRU: ", "S=2 C=4 on 2 GPUs, in graphs: ", "torch pipelining S=2 M=4"):
        assert name in done.stdout
    for why_not in ("Error", "out of memory", "it died", "Left out"):
        assert why_not not in done.stdout


@pytest.mark.long
@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="only Linux counts resident memory")
def test_a_quick_run_of_memory_shows_it_with_and_without_truncation() -> None:
    done = run("memory", "--quick")
    assert done.returncode == 0, done.stderr
    assert "pipeline, truncate=1" in done.stdout
    assert "saved activations do not grow" in done.stdout


@pytest.mark.parametrize("name", ["speed", "planner"])
def test_a_shape_that_cannot_be_read_is_a_usage_error(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--shape", "128"]) == 2

    said = capsys.readouterr().err
    assert "--shape 128,32,96,4" in said
    assert "Traceback" not in said
