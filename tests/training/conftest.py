"""Fixtures of the tests of training/."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def one_intra_op_thread() -> Iterator[None]:
    """Run plain training in one thread: on a busy machine a second one mostly waits for a core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
