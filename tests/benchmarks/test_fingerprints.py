from pathlib import Path

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.fingerprints import differing, fingerprint, losses_in, train_drop_in

LOSSES = ["train/loss 0.5", "val/loss 0.25"]


def weights() -> dict[str, torch.Tensor]:
    return {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}


def test_the_order_of_the_names_does_not_matter() -> None:
    reversed_weights = dict(reversed(weights().items()))
    assert fingerprint(LOSSES, weights()) == fingerprint(LOSSES, reversed_weights)


def test_a_last_bit_another_name_shape_or_loss_is_another_fingerprint() -> None:
    same = weights()
    moved = same["a"].clone()
    moved[1, 2] = torch.nextafter(moved[1, 2], torch.tensor(9.0))
    found = {
        fingerprint(LOSSES, same),
        fingerprint(LOSSES, {**same, "a": moved}),
        fingerprint(LOSSES, {**same, "a": same["a"].flatten()}),
        fingerprint(LOSSES, {"a": same["a"], "c": same["b"]}),
        fingerprint(LOSSES[:1], same),
        fingerprint(["train/loss 0.6", LOSSES[1]], same),
    }
    assert len(found) == 6


def test_losses_are_read_without_times(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.csv"
    metrics.write_text("step,train/loss,samples/s,val/loss\n1,0.5,99.1,\n1,,,0.25\n")
    found = [line for line in losses_in(metrics) if not line.endswith(" ")]
    assert found == LOSSES


def test_what_differs_is_named_missing_runs_included() -> None:
    now, before = {"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "0", "d": "4"}
    assert differing(now, before) == ["b", "c", "d"]


def test_a_comparison_names_what_differs_and_ends_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "before.json")
    found = {"gpipe": "1", "naive": "2"}
    monkeypatch.setattr("benchmarks.fingerprints.all_fingerprints", lambda: iter(found.items()))
    assert main(["fingerprints", "--write", file]) == 0
    assert main(["fingerprints", "--against", file]) == 0
    assert "All 2 are the same" in capsys.readouterr().out
    found["naive"] = "3"
    assert main(["fingerprints", "--against", file]) == 1
    assert "Differ: naive." in capsys.readouterr().out


def test_a_file_that_is_not_there_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fingerprints", "--against", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["none/here.json", "."])
def test_a_file_that_cannot_be_written_is_a_usage_error_before_anything_runs(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise AssertionError("nothing should run")

    monkeypatch.setattr("benchmarks.fingerprints.all_fingerprints", fail)
    assert main(["fingerprints", "--write", str(tmp_path / name)]) == 2
    assert "name another" in capsys.readouterr().err


def test_the_drop_in_comes_to_the_same_again() -> None:
    assert train_drop_in(None) == train_drop_in(None)
