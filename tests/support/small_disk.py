"""A real disk that is soon full, where the rights of the test allow to mount one."""

import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, b"size=200k") != 0:
        pytest.skip("no right to mount a small disk here: how a full disk is reported is NOT checked")
    yield folder
    libc.umount(bytes(folder))
