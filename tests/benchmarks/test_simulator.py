import pytest

from benchmarks.__main__ import main
from benchmarks.simulator import CASES


def test_every_case_is_built_and_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulator", "--stages", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines] == [name for name, _, _ in CASES]
    # F and B of each of 1,024 cells on two stages; W, too, where it is separate.
    assert ["4096 actions" in line for line in lines] == [True, True, False]
    assert "6144 actions" in lines[-1]
