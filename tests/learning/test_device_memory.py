"""The peak is of the work since it was last forgotten."""

import pytest
import torch

from trimood.learning.device import forget_peak_memory, peak_memory_gib


@pytest.mark.slow
def test_the_peak_is_of_the_work_that_follows_and_not_of_what_came_before() -> None:
    forget_peak_memory()
    before = peak_memory_gib()
    torch.ones(2**27, device="cuda" if torch.cuda.is_available() else "cpu")  # 0.5 GiB, written to
    with_it = peak_memory_gib()
    forget_peak_memory()
    after = peak_memory_gib()
    assert with_it - before > 0.45
    assert with_it - after > 0.45
