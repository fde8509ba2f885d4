"""The pictures of README and documentation come from commands, and axe looks at our pages meanwhile."""

import importlib.util
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

PROJECT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("take_pictures", PROJECT / "scripts" / "take_pictures.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_picture_of_the_documentation_is_taken_by_a_command() -> None:
    scripts = {name: (PROJECT / "scripts" / name).read_text() for name in ("take_pictures.py", "write_results.py")}
    taken = {
        name for source in scripts.values() for name in re.findall(r'(?:\bto|"pictures") / "([\w-]+\.png)"', source)
    }
    assert {path.name for path in (PROJECT / "docs" / "pictures").iterdir()} == taken


def predictions(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """An utterance for each (true, predicted, probability), all of the test split."""
    table = pd.DataFrame(rows, columns=["emotion", "predicted", "p_joy"])
    return table.assign(split="test", utterance=[f"dia1utt{number}" for number in range(len(rows))], p_anger=0.0)


def test_the_predictions_shown_are_the_surest_of_three_emotions_and_the_surest_mistake(script: Any) -> None:
    table = predictions(
        *(("joy", "joy", 0.8), ("joy", "joy", 0.9), ("fear", "fear", 0.7), ("anger", "anger", 0.6)),
        *(("disgust", "disgust", 0.5), ("neutral", "neutral", 0.99), ("neutral", "joy", 0.98)),
        *(("joy", "fear", 0.97), ("sadness", "fear", 0.3), ("surprise", "fear", 0.4)),
    )
    table = pd.concat([table, predictions(("surprise", "joy", 1.0)).assign(split="validation", utterance="other")])
    chosen = script.four_utterances(table)
    assert chosen["utterance"].tolist() == ["dia1utt1", "dia1utt2", "dia1utt3", "dia1utt9"]
    without = table[~table["emotion"].isin(["sadness", "surprise"])]
    assert script.four_utterances(without)["utterance"].tolist()[-1] == "dia1utt7"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("axe_playwright_python") is None, reason="no axe: it is NOT tried")
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH: axe is NOT tried")
def test_axe_finds_a_picture_without_words_and_pale_text_and_nothing_in_a_good_page(
    script: Any, tmp_path: Path
) -> None:
    from playwright.sync_api import sync_playwright

    def page(body: str) -> str:
        return f"<!DOCTYPE html><html lang='en'><head><title>t</title></head><body><main><h1>t</h1>{body}</main></body>"

    bad = "<img src='data:,'><p style='color: #ddd; background: #fff'>pale</p>"
    found = {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, body in (("bad", bad), ("good", "<img src='data:,' alt='words'><p>dark</p>")):
            opened = browser.new_page()
            opened.set_content(page(body))
            checked = script.Checked()
            checked.page(opened, name)
            found[name] = checked.grave
        browser.close()
    assert found["good"] == []
    assert sorted(line.split(": ")[2] for line in found["bad"]) == ["color-contrast", "image-alt"]
