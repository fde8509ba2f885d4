"""Reports as HTML files."""

import re
from html.parser import HTMLParser

import pytest
from jinja2 import UndefinedError

from trimood.reports.html import MARK_COLOURS, environment, in_markdown


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


def page(sections: str, **values: object) -> str:
    """A page with these sections."""
    template = environment().from_string(
        '{% extends "page.html" %}{% from "parts.html" import section, table, row, picture with context %}'
        "{% block title %}{{ title }}{% endblock %}{% block lead %}{{ title }}{% endblock %}"
        "{% block sections %}" + sections + "{% endblock %}"
    )
    return template.render({"pictures": {}, "colours": MARK_COLOURS, "title": "Report", **values})


TABLE = """{% call section(title, mark="bad") %}{% call table(["emotion", "# count", "# share", "there"]) %}
{{ row(cells) }}{% endcall %}{% endcall %}"""


def test_a_page_holds_tables_and_marks() -> None:
    shown = page(TABLE, cells=["joy", 1234, 0.5, True])
    assert re.findall(r"<td[^>]*>(.*?)</td>", shown) == ["joy", "1,234", "0.500", "yes"]
    assert re.findall(r"<th\b[^>]*>(.*?)</th>", shown) == ["emotion", "count", "share", "there"]
    assert (shown.count('<td class="number">'), shown.count('<th class="number">')) == (2, 2)
    assert '<span class="mark bad">bad</span><h2>Report</h2>' in shown
    assert "details" not in seen_in(shown).tags


def test_a_page_holds_its_pictures_and_fetches_nothing() -> None:
    shown = page("{{ picture('drawn', 'Title') }}{{ picture('left out', '') }}", pictures={"drawn": "iVBORw0KGgo="})
    assert seen_in(shown).addresses == ["data:image/png;base64,iVBORw0KGgo="]


def test_what_a_corpus_says_is_text_and_never_markup() -> None:
    shown = page(TABLE, title="<b>", cells=["<script>alert(1)</script>", "<i>", "&", "<u>"])
    assert not {"script", "b", "i", "u"} & set(seen_in(shown).tags)
    assert "&lt;script&gt;" in shown
    assert "<title>&lt;b&gt;</title>" in shown


@pytest.mark.parametrize(
    ("words", "written"),
    [
        ("*sigh* __no__ _oh_", r"\*sigh\* \_\_no\_\_ \_oh\_"),
        ("[a](http://b) ![c](d)", r"\[a\](http://b) !\[c\](d)"),
        ("a|b \\| `c`", r"a\|b \\\| \`c\`"),
        ("<img src=x> &lt;", "&lt;img src=x&gt; &amp;lt;"),
        ("one\n# two\r\n  three", "one # two three"),
        ("exp4_head dia1_utt2.mp4 Oh, no!", "exp4_head dia1_utt2.mp4 Oh, no!"),
    ],
)
def test_what_users_write_is_text_in_markdown_too(words: str, written: str) -> None:
    assert in_markdown(words) == written


def test_gaps_are_dashes_and_sections_can_be_folded() -> None:
    shown = page(
        "{% call section('Table', folded=true) %}{{ row(['exp2', none, nan]) }}{% endcall %}", nan=float("nan")
    )
    assert re.findall(r"<td[^>]*>(.*?)</td>", shown) == ["exp2", "–", "–"]
    assert "details" in seen_in(shown).tags


def test_a_name_that_nobody_gave_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="nothing"):
        page("{{ nothing }}")
