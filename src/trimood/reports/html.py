"""Reports as single HTML files with text, tables and figures, without external resources."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Mark = Literal["good", "check", "bad"]
"""What the reader has to do: nothing, check something, or fix something."""

MARK_COLOURS: dict[Mark, str] = {"good": "#2e7d4f", "check": "#b7791f", "bad": "#b3362f"}
"""Colours of the marks on pages and in figures."""


@dataclass(frozen=True)
class Section:
    """A heading, and below it optional paragraphs (separated by blank lines), a table and a figure.

    `mark` is shown before the heading. `folded` hides everything below the heading until the reader clicks it.
    """

    title: str
    text: str = ""
    table: pd.DataFrame | None = None
    figure: "Figure | None" = None
    mark: Mark | None = None
    folded: bool = False


def render(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The page as HTML. In tables, floats have three decimals, and integers a comma between thousands.

    A table's index is shown if it has a name. Figures are embedded as PNG. All text is escaped.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("trimood.reports", "."), autoescape=True, undefined=StrictUndefined)
    shown = [
        {
            "title": section.title,
            "paragraphs": [part for part in section.text.split("\n\n") if part.strip()],
            "table": None if section.table is None else _table(section.table),
            "picture": None if section.figure is None else _png(section.figure),
            "mark": section.mark,
            "folded": section.folded,
        }
        for section in sections
    ]
    return environment.get_template("page.html").render(title=title, lead=lead, sections=shown, colours=MARK_COLOURS)


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
