"""engine.tf32: set for a run, in the way that others can ask for, and set back after it."""

import pytest
import torch

from gru_parallel.engine.tf32 import tf32, uses_tf32


def settings() -> list[object]:
    """What torch says in its newer and in its older way; it raises where they contradict."""
    backends = torch.backends
    return [
        torch._C._get_fp32_precision_getter("cuda", "rnn") == "tf32",
        backends.cudnn.allow_tf32,
        backends.cuda.matmul.fp32_precision == "tf32",
        backends.cuda.matmul.allow_tf32,
        torch.get_float32_matmul_precision() != "highest",
    ]


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("outside", [True, False, None])
def test_both_libraries_are_set_and_set_back(outside: bool | None, allowed: bool) -> None:
    default = settings()
    with tf32(outside):
        before = settings()
        with tf32(allowed):
            assert settings() == [allowed] * 5
            assert uses_tf32() == allowed
        assert settings() == before
    assert settings() == default


def test_by_default_nothing_is_changed_and_cudnn_uses_it() -> None:
    default = settings()
    with tf32(None):
        assert settings() == default
        assert uses_tf32()


def test_it_is_set_back_after_an_error() -> None:
    default = settings()
    with pytest.raises(ZeroDivisionError), tf32(False):
        raise ZeroDivisionError
    assert settings() == default
