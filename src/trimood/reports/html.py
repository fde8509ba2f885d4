"""Reports as one HTML file each: words, tables and pictures, with nothing to fetch from elsewhere."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Mark = Literal["good", "look", "bad"]
"""What a reader has to do: nothing, look at it, or mend it."""


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it: paragraphs (parted by a blank line), a table, a picture; each may be absent.

    `verdict` puts a coloured mark before the heading. `folded` shows the heading alone until it is clicked.
    """

    title: str
    text: str = ""
    table: pd.DataFrame | None = None
    figure: "Figure | None" = None
    verdict: Mark | None = None
    folded: bool = False


def render(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The page. Numbers of a table are set to the right: floats with three decimals, whole ones with thousands marked.

    A table's index is shown where it has a name. Pictures are embedded as PNG. Everything is escaped.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("trimood.reports", "."), autoescape=True, undefined=StrictUndefined)
    shown = [
        {
            "title": section.title,
            "paragraphs": [part for part in section.text.split("\n\n") if part.strip()],
            "table": None if section.table is None else _table(section.table),
            "picture": None if section.figure is None else _png(section.figure),
            "verdict": section.verdict,
            "folded": section.folded,
        }
        for section in sections
    ]
    return environment.get_template("page.html").render(title=title, lead=lead, sections=shown)


def _table(table: pd.DataFrame) -> dict[str, Any]:
    whole = table.reset_index() if any(table.index.names) else table
    types = pd.api.types
    numeric = [types.is_numeric_dtype(kind) and not types.is_bool_dtype(kind) for kind in whole.dtypes]
    rows = [[_cell(value) for value in row] for row in whole.astype(object).itertuples(index=False)]
    return {"columns": list(zip(map(str, whole.columns), numeric, strict=True)), "rows": rows, "numeric": numeric}


def _cell(value: Any) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _png(figure: "Figure") -> str:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return base64.b64encode(file.getvalue()).decode()
