"""What is known of kinds of devices."""

import pytest

from gru_parallel.placement.cards import SPEEDS, kind_of


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("Tesla V100-SXM2-16GB", "Tesla V100-SXM2-16GB"),
    ],
)
def test_a_card_is_known_by_the_name_that_its_driver_gives_it(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_newer_cards_are_faster() -> None:
    a100, h100, h200 = (SPEEDS[kind] for kind in ("a100", "h100", "h200"))

    assert a100.flops_per_s < h100.flops_per_s == h200.flops_per_s
    assert a100.bytes_per_s < h100.bytes_per_s < h200.bytes_per_s
    assert a100.step_ms > h100.step_ms == h200.step_ms
