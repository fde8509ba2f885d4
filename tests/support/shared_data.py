"""Where the optional reference material lies: real annotations, real clips and golden arrays, beside the checkout."""

from pathlib import Path

import pytest

_FOLDER = Path(__file__).resolve().parents[3] / "shared"
SHARED: Path | None = _FOLDER if _FOLDER.is_dir() else None

needs_shared = pytest.mark.skipif(
    SHARED is None,
    reason=f"the reference material is not at {_FOLDER}: real annotations, clips and golden arrays are NOT checked",
)
