"""What a block of parameters is: frozen, and refusing keys that it does not know, by words for people."""

from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What NumPy's generators take, which Hugging Face's Trainer seeds beside torch's."""


def did_you_mean(word: str, allowed: list[str]) -> str:
    """Close spellings of `word` among `allowed`, as the end of an error message; empty when there are none."""
    close = get_close_matches(word, allowed, n=2)
    return f" Did you mean {' or '.join(close)}?" if close else ""


class Parameters(BaseModel):
    """A frozen block of parameters that refuses keys it does not know, and says which it does."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        if isinstance(values, dict):
            allowed = list(cls.model_fields)
            for key in values:
                if key not in allowed:
                    hint = did_you_mean(str(key), allowed)
                    raise ValueError(f"unknown key {key!r}; allowed here: {', '.join(allowed)}.{hint}")
        return values
