from dataclasses import asdict

from benchmarks.peers.tables import tables
from benchmarks.summary import read_summary
from tests.benchmarks.peers_rounds import EARLIER, PEER_M2, summary


def test_the_first_table_has_every_system_at_its_fastest_plan() -> None:
    first, *_ = tables([summary()])
    assert dict(zip(first.headings, first.rows[0], strict=True)) == {
        "shape": "H=128, B=32, T=96, L=4",
        "nn.GRU 1, 2 threads": "120.0, 96.0",
        "model parallel": "125.0",
        "torch pipelining": "120.0",
        "processes": "52.0",
        "threads": "50.0",
        "fastest threads": "fused gpipe M=1 C=8",
        "against nn.GRU": "1.92",
        "against torch pipelining": "2.40",
    }


def test_a_ratio_that_misses_its_target_is_marked() -> None:
    first, *_ = tables([summary({PEER_M2: 99.0, EARLIER: 60.0})])
    row = dict(zip(first.headings, first.rows[0], strict=True))
    assert row["against torch pipelining"] == "1.98 !"
    assert row["against earlier"] == "1.20 !"


def test_a_variant_has_its_times_its_memory_and_both_ratios() -> None:
    _, own, *_ = tables([summary()])
    rows = {row[0]: row[1:] for row in own.rows}
    assert rows["threads fused gpipe M=1 C=8"] == (
        "50.0",
        "100.0",
        "3.0",
        "1.92 (1.92-1.92)",
        "2.40 (2.40-2.40)",
    )
    assert rows["torch pipelining gpipe M=2"][2] == "3.0+3.0"
    assert own.note.startswith("1 rounds")


def test_every_plan_that_ran_once_has_a_line() -> None:
    _, _, tried, _ = tables([summary()])
    assert tried.headings == ("plan", "torch pipelining", "threads", "processes")
    assert {row[0]: row[1:] for row in tried.rows} == {
        "gpipe M=1": ("130.0", "", ""),
        "gpipe M=2": ("120.0", "", "125.0"),
        "gpipe M=4": ("200.0", "", ""),
        "gpipe M=1 C=16": ("", "60.0", "52.0"),
        "gpipe M=2 C=4": ("", "90.0", ""),
    }


def test_a_summary_goes_to_a_dictionary_and_back() -> None:
    own = summary()
    assert read_summary(asdict(own)) == own
