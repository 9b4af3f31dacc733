"""Files that cannot be read or do not fit are refused before anything is written."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.cli.in_process import SMALL, Ended, RunCommand, assert_refused, write_first

N_ROWS = 100
SETTINGS = (
    "data=csv",
    "data.target=a",
    "data.input_length=8",
    "data.horizon=2",
    "data.season_length=4",
    *(setting for setting in SMALL if not setting.startswith("data.")),
)


def rows(**changed: str) -> list[str]:
    """Lines of a file: hours, and columns a and b; `row9` replaces line 9, the header is line 1."""
    lines = ["date,a,b"]
    for k in range(N_ROWS):
        lines.append(f"2024-01-{k // 24 + 1:02d} {k % 24:02d}:00,{k % 7}.5,{k % 5}")
    for name, line in changed.items():
        lines[int(name.removeprefix("row")) - 1] = line
    return lines


BAD_FILES: dict[str, tuple[bytes, str, Sequence[str]]] = {
    "no file": (b"", "absent.csv", ["does not exist"]),
    "an empty file": (b"", "series.csv", ["empty"]),
    "no CSV": (b"\x00\x01\xff\xfe\x00", "series.csv", ["CSV"]),
    "prose": (b"Dear colleague,\nthe series is attached.\n", "series.csv", ["not a CSV file"]),
    "a web page": (b"<!DOCTYPE html>\n<html></html>\n", "series.csv", ["not a CSV file", "HTML"]),
    "no Parquet": (b"not Parquet at all", "series.parquet", ["Parquet"]),
    "another kind of file": (b"a,b\n1,2\n", "series.xlsx", [".csv", ".parquet"]),
    "only a header": (b"date,a,b\n", "series.csv", ["row"]),
    "no target column": (
        "\n".join(rows(row1="date,alpha,b")).encode(),
        "series.csv",
        ["data.target=a", "alpha"],
    ),
    "text": (
        "\n".join(rows(row9="2024-01-01 07:00,much,1")).encode(),
        "series.csv",
        ["row 9", "'a'", "much"],
    ),
    "NaN": (
        "\n".join(rows(row9="2024-01-01 07:00,nan,1")).encode(),
        "series.csv",
        ["row 9", "'a'", "data.missing=interpolate", "data.missing=drop"],
    ),
    "an empty value in another column": (
        "\n".join(rows(row9="2024-01-01 07:00,1,")).encode(),
        "series.csv",
        ["row 9", "'b'", "data.missing=interpolate", "data.missing=drop"],
    ),
    "an infinite value": (
        "\n".join(rows(row9="2024-01-01 07:00,-inf,1")).encode(),
        "series.csv",
        ["row 9", "'a'", "data.missing=interpolate", "data.missing=drop"],
    ),
    "too few rows": (
        "\n".join(rows()[:12]).encode(),
        "series.csv",
        ["data.input_length=8", "data.horizon=2", "rows"],
    ),
    "a time that goes back": (
        "\n".join(rows(row9="2023-12-31 07:00,1,1")).encode(),
        "series.csv",
        ["row 9", "earlier"],
    ),
    "a time in seconds that goes back": (
        "\n".join(
            ["timestamp,a,b", *(f"{1577836800 + 60 * k},1.5,{k}" for k in range(9)), "9,1,1"]
        ).encode(),
        "series.csv",
        ["row 11", "timestamp=9", "earlier", "data.time_column=none"],
    ),
    "a measured quantity that is called as times are": (
        "\n".join(["time,a", *(f"{k % 24},1.5" for k in range(N_ROWS))]).encode(),
        "series.csv",
        ["row 26", "time=0", "earlier", "data.time_column=none"],
    ),
    "a time twice": (
        "\n".join(rows(row9="2024-01-01 06:00,1,1")).encode(),
        "series.csv",
        ["row 9", "repeats"],
    ),
}


def assert_no_run(ended: Ended, fragments: Sequence[str]) -> None:
    assert_refused(ended, fragments, most_lines=2)
    assert not ended.folder.exists()


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_work_is_refused(
    name: str, train_command: RunCommand, in_tmp_path: Path
) -> None:
    content, file_name, fragments = BAD_FILES[name]
    if file_name != "absent.csv":
        (in_tmp_path / file_name).write_bytes(content)

    ended = train_command(*SETTINGS, f"data.path={file_name}")

    assert_no_run(ended, ["data.", *fragments])


def long_rows(**changed: str) -> list[str]:
    """Lines of a file of two series, x and y, of 50 rows each, in turn."""
    lines = ["date,id,a"]
    for k in range(N_ROWS):
        hour = k // 2
        lines.append(f"2024-01-{hour // 24 + 1:02d} {hour % 24:02d}:00,{'xy'[k % 2]},{k % 7}.5")
    for name, line in changed.items():
        lines[int(name.removeprefix("row")) - 1] = line
    return lines


BAD_LONG_FILES: dict[str, tuple[list[str], Sequence[str], Sequence[str]]] = {
    "no series column": (
        long_rows(row1="date,station,a"),
        [],
        ["data.series_column=id", "station"],
    ),
    "a row of no series": (long_rows(row9="2024-01-01 03:00,,1"), [], ["row 9", "'id'", "empty"]),
    "a time of one series that goes back": (
        long_rows(row9="2023-12-31 03:00,y,1"),
        [],
        ["series 'y'", "row 9", "earlier", "row 7"],
    ),
    "a time of one series that is none": (
        long_rows(row9="soon,y,1"),
        [],
        ["series 'y'", "row 9", "'date'", "soon"],
    ),
    "a time of one series twice": (
        long_rows(row9="2024-01-01 02:00,y,1"),
        [],
        ["series 'y'", "row 9", "repeats", "row 7"],
    ),
    "an empty value in one series": (
        long_rows(row9="2024-01-01 03:00,y,"),
        [],
        ["series 'y'", "row 9", "'a'", "data.missing=interpolate"],
    ),
    "a series too short for one window": (
        [*long_rows(), "2024-02-01,z,1", "2024-02-02,z,2"],
        [],
        ["series 'z'", "data.input_length=8", "leave the series out"],
    ),
    "a series with fewer rows than the split": (
        [*long_rows(), "2024-02-01,z,1"],
        ["data.split=[30,10,10]"],
        ["data.split=[30,10,10]", "series 'z'"],
    ),
    "fewer series than parts": (
        long_rows(),
        ["data.split_by=series", "data.split=[1,1,1]"],
        ["data.split=[1,1,1]", "2", "data.split_by=series"],
    ),
    "a metric that series without a training part do not have": (
        [*long_rows(), *(row.replace(",x,", ",z,") for row in long_rows() if ",x," in row)],
        [
            *("data.split_by=series", "data.split=[1,1,1]", "data.season_length=2"),
            *("lr_scheduler=plateau", "lr_scheduler.monitor=val/mase"),
        ],
        ["lr_scheduler.monitor=val/mase", "NaN", "val/loss"],
    ),
    "the series column for the times": (
        long_rows(),
        ["data.time_column=id"],
        ["data.series_column=id", "data.time_column"],
    ),
    "the series column for a target": (long_rows(), ["data.target=id"], ["data.target=id"]),
}


@pytest.mark.parametrize("name", BAD_LONG_FILES)
def test_a_long_file_that_cannot_work_is_refused(
    name: str, train_command: RunCommand, in_tmp_path: Path
) -> None:
    lines, overrides, fragments = BAD_LONG_FILES[name]
    (in_tmp_path / "long.csv").write_text("\n".join(lines))

    ended = train_command(
        *SETTINGS,
        "data.path=long.csv",
        "data.series_column=id",
        "data.split=[0.4,0.3,0.3]",
        *overrides,
    )

    assert_no_run(ended, ["data.", *fragments])


def test_the_long_file_that_they_are_changed_from_works(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    """Keeps the test above honest: what is refused is the one change."""
    (in_tmp_path / "long.csv").write_text("\n".join(long_rows()))

    ended = train_command(
        *SETTINGS,
        "data.path=long.csv",
        "data.series_column=id",
        "data.split=[0.4,0.3,0.3]",
        "trainer.fast_dev_run=true",
    )

    assert ended.status == 0, ended.err


def test_without_a_series_column_a_long_file_is_refused_with_how_to_give_one(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    (in_tmp_path / "long.csv").write_text("\n".join(long_rows()))

    ended = train_command(*SETTINGS, "data.path=long.csv")

    assert_no_run(ended, ["row 3", "repeats", "data.series_column"])


def test_a_folder_is_refused(train_command: RunCommand, in_tmp_path: Path) -> None:
    (in_tmp_path / "folder.csv").mkdir()

    assert_no_run(train_command(*SETTINGS, "data.path=folder.csv"), ["data.path=folder.csv"])


def test_no_path_is_refused_with_how_to_give_one(train_command: RunCommand) -> None:
    assert_no_run(train_command(*SETTINGS), ["data.path", "data.path=..."])


@pytest.mark.filterwarnings("ignore:.*1 row is missing")
@pytest.mark.parametrize("missing", ["interpolate", "drop"])
def test_the_ways_out_that_the_message_names_lead_out(
    missing: str, train_command: RunCommand, in_tmp_path: Path
) -> None:
    text = "\n".join(rows(row9="2024-01-01 07:00,nan,1"))
    (in_tmp_path / "series.csv").write_text(text)

    ended = train_command(
        *SETTINGS, "data.path=series.csv", f"data.missing={missing}", "trainer.fast_dev_run=true"
    )

    assert ended.status == 0, ended.err


@pytest.fixture
def checkpoint(train_command: RunCommand) -> Path:
    return write_first(train_command, *SMALL, "trainer.max_epochs=1")


@pytest.mark.parametrize(
    ("override", "fragments"),
    [
        ("model.hidden_size=5", ["shape", "(4, 4)", "(5, 4)"]),
        ("model.num_layers=5", ["it has no", "weight_ih_l4"]),
        ("model.num_layers=3", ["the model has no", "_l3"]),
        ("data.horizon=3", ["model.head.linear", "shape"]),
        ("model.encoder=none", ["model.encoder"]),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(
    override: str, fragments: list[str], checkpoint: Path, train_command: RunCommand
) -> None:
    ended = train_command(*SMALL, override, f"ckpt_path={checkpoint}")

    assert_no_run(ended, [f"ckpt_path={checkpoint}", "does not fit", "config.yaml", *fragments])


def test_a_checkpoint_in_the_middle_of_an_epoch_of_other_batches_is_refused(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    checkpoint = in_tmp_path / "first" / "checkpoints" / "last.ckpt"
    press = "+callbacks.mine={_target_: tests.interrupts.SendSignal, batch: 0}"
    assert train_command(*SMALL, press, run="first").status == 130

    ended = train_command(*SMALL, "data.batch_size=32", f"ckpt_path={checkpoint}")

    assert_no_run(ended, ["data.batch_size=64", "data.batch_size=32", "keep 64"])


@pytest.mark.parametrize("kind", ["text", "weights alone", "a cut file", "empty"])
def test_a_file_that_is_no_checkpoint_of_a_run_is_refused(
    kind: str, checkpoint: Path, train_command: RunCommand, in_tmp_path: Path
) -> None:
    path = in_tmp_path / "other.ckpt"
    whole = checkpoint.read_bytes()
    contents = {"text": b"hello", "a cut file": whole[: len(whole) // 2], "empty": b""}
    if kind in contents:
        path.write_bytes(contents[kind])
    else:
        torch.save(torch.load(checkpoint, weights_only=True)["state_dict"], path)

    ended = train_command(*SMALL, "ckpt_path=other.ckpt")

    assert_no_run(ended, ["ckpt_path=other.ckpt", ".ckpt file from the checkpoints folder"])
