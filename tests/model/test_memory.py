"""A lack of memory is recognised in what each library raises, and answered with what needs less."""

import numpy as np
import pytest
import torch

from trimood.model.memory import PREDICTION_REMEDY, TRAINING_REMEDY, OutOfMemory, lacks_memory, memory_explained

TOO_MUCH = 10**15


def on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 1 GiB")


@pytest.mark.parametrize(
    "allocate", [lambda: torch.empty(TOO_MUCH), lambda: np.ones(TOO_MUCH), lambda: bytearray(TOO_MUCH), on_a_gpu]
)
def test_a_failed_allocation_is_explained_by_the_settings_that_need_less(allocate) -> None:  # type: ignore[no-untyped-def]
    with (
        pytest.raises(OutOfMemory, match=r"(?s)the memory is not enough.*per_device_train_batch_size.*accumulation"),
        memory_explained(TRAINING_REMEDY),
    ):
        allocate()


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="size of tensor"), memory_explained(PREDICTION_REMEDY):
        torch.ones(2) + torch.ones(3)
    assert not lacks_memory(ValueError("memory"))
    assert not lacks_memory(KeyboardInterrupt("out of memory"))
