"""Reports as HTML files."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from trimood.reports.html import Section, render


class _Seen(HTMLParser):
    """Which tags a page has, and what an address in it points to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href") and value]


def seen_in(page: str) -> _Seen:
    seen = _Seen()
    seen.feed(page)
    return seen


def test_a_page_holds_words_tables_and_pictures_and_fetches_nothing() -> None:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    table = pd.DataFrame({"emotion": ["joy"], "count": [1234], "share": [0.5], "there": [True]})
    page = render("Report", "What it says.", [Section("Counts", "One.\n\nTwo.", table, figure, "bad")])
    seen = seen_in(page)
    assert seen.tags.count("p") == 3  # the lead and two paragraphs
    assert [address[:22] for address in seen.addresses] == ["data:image/png;base64,"]
    assert re.findall(r"<td[^>]*>(.*?)</td>", page) == ["joy", "1,234", "0.500", "yes"]
    assert page.count('<td class="number">') == 2
    assert '<span class="mark bad">bad</span>' in page


def test_what_a_corpus_says_is_text_and_never_markup() -> None:
    table = pd.DataFrame({"text": ["<script>alert(1)</script>"]})
    page = render("<b>", "&", [Section("<i>", "<u>", table)])
    assert not {"script", "b", "i", "u"} & set(seen_in(page).tags)
    assert "&lt;script&gt;" in page


def test_an_index_is_shown_where_it_has_a_name_and_gaps_are_dashes() -> None:
    table = pd.DataFrame({"macro F1": [0.25, np.nan]}, index=pd.Index(["exp1", "exp2"], name="experiment"))
    page = render("Report", "", [Section("Table", table=table, folded=True)])
    assert re.findall(r"<td[^>]*>(.*?)</td>", page) == ["exp1", "0.250", "exp2", "–"]
    assert "details" in seen_in(page).tags
    assert "<th>index</th>" not in render("Report", "", [Section("Table", table=table.reset_index(drop=True))])
