"""Recognises failed allocations, and explains them by the settings that need less memory."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

TRAINING_REMEDY = (
    "Lower training.per_device_train_batch_size and raise training.gradient_accumulation_steps by the same factor, so "
    "that an optimiser step has as many utterances as before; validation uses training.per_device_eval_batch_size. "
    "train: lora or train: head, and fewer modalities, also need less; the number of frames is that of the checkpoint."
)
PREDICTION_REMEDY = "Lower training.per_device_eval_batch_size, the number of utterances that are predicted at once."

_IN_WORDS = re.compile(r"out of memory|not enough memory|(can't|cannot) allocate memory|std::bad_alloc", re.IGNORECASE)


class OutOfMemory(Exception):
    """The memory of the machine or of its GPU was not enough; the message says what needs less."""


def lacks_memory(error: BaseException) -> bool:
    """Whether an allocation failed, in Python, NumPy, FFmpeg, or torch on a CPU or a GPU."""
    return isinstance(error, MemoryError) or (isinstance(error, Exception) and bool(_IN_WORDS.search(str(error))))


@contextmanager
def memory_explained(remedy: str) -> Iterator[None]:
    """Raises OutOfMemory, with the remedy, for a failed allocation in the block or the decorated function."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not lacks_memory(error):
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise OutOfMemory(f"the memory is not enough: {first[:300]}\n{remedy}") from error
