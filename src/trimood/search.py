"""The parameters of a search: how long, by which method, over which values of an experiment's parameters."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from trimood.blocks import Parameters, Seed

Number = int | float


class Dimension(Parameters):
    """What a search may choose for one parameter: a range, of whole numbers where both ends are, or some choices."""

    low: Number | None = None
    high: Number | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        is_range = self.low is not None and self.high is not None
        if is_range == bool(self.choices) or (self.low is None) != (self.high is None) or (self.choices and self.log):
            raise ValueError("allowed is a range, {low: 1.0e-5, high: 1.0e-3, log: true}, or {choices: [4, 8]}")
        if self.low is not None and self.high is not None:
            if self.low >= self.high:
                raise ValueError(f"low {self.low} is not below high {self.high}")
            if self.log and self.low <= 0:
                raise ValueError(f"low {self.low} with log: true; on a logarithmic scale low is above 0")
        return self

    def __str__(self) -> str:
        words = ", ".join(map(str, self.choices)) if self.choices else f"{self.low} to {self.high}"
        return f"{words}, logarithmic" if self.log else words


class TuneParams(Parameters):
    """A search over an experiment's parameters, by Optuna: its name (empty: the experiment's), size, space, methods."""

    study: str
    trials: Annotated[int, Field(ge=1)]
    seed: Seed
    sampler: Literal["tpe", "random"]
    pruner: Literal["none", "median"]
    space: Annotated[dict[str, Dimension], Field(min_length=1)]

    @field_validator("space", mode="before")
    @classmethod
    def _name_by_dots(cls, space: Any) -> Any:
        return _dimensions(space) if isinstance(space, dict) else space


def _dimensions(space: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Blocks within blocks as {"training.learning_rate": {low, high}}; what is null is left out."""
    found: dict[str, Any] = {}
    for key, value in space.items():
        name = f"{prefix}{key}"
        inner = {name: value}
        if isinstance(value, dict) and not set(value) & set(Dimension.model_fields):
            inner = _dimensions(value, f"{name}.")
        for path, dimension in inner.items():
            earlier = found.get(path)  # written with dots in a file, and with blocks on the command line
            if isinstance(earlier, dict) and isinstance(dimension, dict):
                found[path] = {**earlier, **dimension}
            else:
                found[path] = dimension
    return {path: dimension for path, dimension in found.items() if dimension is not None}
