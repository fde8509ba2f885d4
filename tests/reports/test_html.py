"""Reports as HTML files."""

import re
from html.parser import HTMLParser

import pytest
from jinja2 import UndefinedError

from trimood.reports.html import LETTER_COLOURS, MARK_COLOURS, environment, in_markdown


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
    return template.render(
        {"pictures": {}, "colours": MARK_COLOURS, "letters": LETTER_COLOURS, "title": "Report", **values}
    )


TABLE = """{% call section(title, mark="bad") %}{% call table(["emotion", "# count", "# share", "there"]) %}
{{ row(cells) }}{% endcall %}{% endcall %}"""


def test_a_page_holds_tables_and_marks() -> None:
    shown = page(TABLE, cells=["joy", 1234, 0.5, True])
    assert re.findall(r"<td[^>]*>(.*?)</td>", shown) == ["joy", "1,234", "0.500", "yes"]
    assert re.findall(r"<th\b[^>]*>(.*?)</th>", shown) == ["emotion", "count", "share", "there"]
    assert (shown.count('<td class="number">'), shown.count('<th scope="col" class="number">')) == (2, 2)
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


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [of / 12.92 if of <= 0.04045 else ((of + 0.055) / 1.055) ** 2.4 for of in channels]
    return sum(weight * of for weight, of in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first: str, second: str) -> float:
    dark, light = sorted(map(luminance, (first, second)))
    return (light + 0.05) / (dark + 0.05)


def test_the_words_of_a_page_can_be_read_in_light_dark_and_on_paper() -> None:
    """4.5 is what WCAG 2.2 asks of text at level AA."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for mark, colour in MARK_COLOURS.items():
        assert contrast(LETTER_COLOURS[mark], colour) >= 4.5, mark
    themes = [dict(re.findall(r"--(\w+): (#\w+)", line)) for line in page("").splitlines() if ":root {" in line]
    assert len(themes) == 3
    for theme in themes:
        of = {
            name: "#" + "".join(c * 2 for c in colour[1:]) if len(colour) == 4 else colour
            for name, colour in theme.items()
        }
        for background in ("paper", "raised"):
            for words in ("text", "faint", "link"):
                assert contrast(of[words], of[background]) >= 4.5, (words, background, of)


def test_photos_keep_their_colours_in_dark_mode() -> None:
    shown = page("{{ picture('a', 'A figure') }}{{ picture('b', 'Faces', photos=true) }}", pictures={"a": "", "b": ""})
    assert 'class="figure" alt="A figure"' in shown
    assert 'class="figure photos" alt="Faces"' in shown
    assert "img.figure:not(.photos) { filter: invert" in shown
