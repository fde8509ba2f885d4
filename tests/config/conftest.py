"""The parameters of conf/base, for the tests of this folder."""

from pathlib import Path

import pytest
import yaml

BASE = Path(__file__).parents[2] / "conf" / "base"


@pytest.fixture
def tree() -> dict:
    """The parameters of conf/base as Kedro gives them, with paths in place of the interpolations."""
    found: dict = {}
    for path in [*BASE.rglob("parameters.yml"), *BASE.glob("experiments/*.yml")]:
        read = yaml.safe_load(path.read_text())
        found |= {**read, "data": {**found.get("data", {}), **read.get("data", {})}}
    return found | {"experiment": "exp4", "model": "exp4"}
