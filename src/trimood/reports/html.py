"""Reports as text from the templates beside this module: HTML pages in one file, and Markdown."""

import base64
import html
import re
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure

Mark = Literal["good", "check", "bad"]
"""What the reader has to do: nothing, check something, or fix something."""

MARK_COLOURS: dict[Mark, str] = {"good": "#00705a", "check": "#e69f00", "bad": "#b03c00"}
"""Colours of the marks on pages and in figures: bluish green, orange and vermilion of Okabe and Ito's palette (2008,
https://jfly.uni-koeln.de/color/), which readers with any kind of colour vision tell apart. The first and the last are
darker than there, so that white letters on them can be read."""

LETTER_COLOURS: dict[Mark, str] = {"good": "#ffffff", "check": "#000000", "bad": "#ffffff"}
"""Colours of the letters on the marks."""

PICTURE: dict[str, Any] = {"format": "png", "dpi": 110}
"""How figures are saved: with the same values on a page and in a file, a figure is drawn once for both."""


def render(template: str, figures: "Mapping[str, Figure]", **values: object) -> str:
    """Fills in a template; figures are embedded as PNG, and all text in an HTML page is escaped."""
    pictures = {name: _png(figure) for name, figure in figures.items()}
    return (
        environment()
        .get_template(template)
        .render(pictures=pictures, colours=MARK_COLOURS, letters=LETTER_COLOURS, **values)
    )


def environment() -> "Environment":
    """The templates, and the filters `cell` and `in_a_line`; an unknown name in a template is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    templates = Environment(
        loader=PackageLoader("trimood.reports"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"cell": _cell, "in_a_line": in_markdown}
    return templates


def _cell(value: object) -> str:
    """Floats have three decimals, and integers a comma between thousands; a missing value is a dash."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def in_markdown(words: str) -> str:
    """Words as text in one line of Markdown, where they begin no cell, markup or HTML.

    A `_` within a word stays as it is: it marks nothing (https://github.github.com/gfm/#emphasis-and-strong-emphasis).
    """
    text = html.escape(" ".join(words.split()), quote=False)
    return re.sub(r"[\\`*\[\]|]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)


def _png(figure: "Figure") -> str:
    file = BytesIO()
    figure.savefig(file, **PICTURE)
    return base64.b64encode(file.getvalue()).decode()
