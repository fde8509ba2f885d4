"""The page as a person uses it: `kedro app` on the demo, in the Chromium of this machine."""

import re
import shutil
import socket
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from support.demo_project import DemoProject
from support.made_media import make_clip
from support.served_page import ServedPage, free_port, run_page
from trimood.emotions import EMOTIONS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SECONDS = 1000
WORDS = "so much joy !"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("playwright") is None, reason="no playwright: the page is NOT tried in a browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH: the page is NOT tried in a browser"),
]


@pytest.fixture(scope="module")
def page_of_demo(demo_project: DemoProject) -> Iterator[ServedPage]:
    """`kedro app` of a project with two trained experiments."""
    demo_project.kedro("run", "--pipelines=exp4_head", "--params", "training.num_train_epochs=1")
    command = [sys.executable, "-m", "kedro", "app", f"--port={free_port()}"]
    with run_page(command, demo_project.path, demo_project.environment) as page:
        yield page


COUNT_RECORDED = """
{
    const start = MediaRecorder.prototype.start;
    MediaRecorder.prototype.start = function (...settings) {
        window.recordedBytes = 0;
        this.addEventListener("dataavailable", (event) => { window.recordedBytes += event.data.size; });
        return start.apply(this, settings);
    };
}
"""
"""The page takes what the recorder has delivered when it is stopped: on a busy machine, after 2 s, a single byte."""


@pytest.fixture
def browser_page(page_of_demo: ServedPage) -> Iterator[Any]:
    """The page, opened in a browser with a camera of its own; `asked_for` collects the addresses that it loads."""
    from playwright.sync_api import sync_playwright

    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *camera])
        page = browser.new_page()
        page.set_default_timeout(60 * SECONDS)
        page.asked_for = []
        page.on("request", lambda request: page.asked_for.append(request.url))
        page.add_init_script(COUNT_RECORDED)
        page.goto(page_of_demo.url)
        page.wait_for_function("document.querySelector('#first input')?.value")
        yield page
        browser.close()


def upload(page: Any, clip: Path) -> None:
    with page.expect_response(re.compile("upload")):
        page.locator("#clip input[type=file]").set_input_files(clip)
    page.locator("#clip video, #clip button[aria-label='Clear']").first.wait_for()


def choose(page: Any, box: str, model: str) -> None:
    page.locator(f"#{box} input").click()
    page.get_by_role("option", name=re.compile(f"^{model} · test macro F1 0[.]")).click()


def predict(page: Any, said: str) -> str:
    """Presses the button and gives the note of the first side, once it says so."""
    page.get_by_role("button", name="Predict", exact=True).click()
    page.locator("#note-0", has_text=said).wait_for()
    return str(page.locator("#note-0").inner_text())


def percents(page: Any, side: int) -> dict[str, int]:
    page.locator(f"#label-{side}", has_text="%").wait_for()
    return {name: int(n) for name, n in re.findall(r"(\w+)\s+(\d+)%", page.locator(f"#label-{side}").inner_text())}


def predicted(project: DemoProject, model: str, clip: Path) -> dict[str, int]:
    """What `kedro run --pipelines=predict` makes of it, in whole percents as the page shows them."""
    project.kedro("run", "--pipelines=predict", "--params", f"model={model},clips={clip},text={WORDS}")
    (row,) = pd.read_parquet(project.path / "data/demo/07_model_output/own_clips/predictions.parquet").to_dict(
        "records"
    )
    return {emotion: round(100 * row[f"calibrated_{emotion}"]) for emotion in EMOTIONS}


def test_two_models_side_by_side_show_what_prediction_says(browser_page: Any, demo_project: DemoProject) -> None:
    clip = min((demo_project.path / "data/demo/01_raw/corpus/test").glob("*.mp4"))
    upload(browser_page, clip)
    browser_page.locator("#words textarea").fill(WORDS)
    choose(browser_page, "first", "exp3")
    predict(browser_page, "Absent: nothing.")
    first = percents(browser_page, 0)
    assert first == predicted(demo_project, "exp3", clip)
    assert not browser_page.locator("#side-1").is_visible()

    choose(browser_page, "second", "exp4_head")
    predict(browser_page, "Absent: nothing.")
    second = percents(browser_page, 1)
    assert percents(browser_page, 0) == first
    assert second == predicted(demo_project, "exp4_head", clip) != first
    for side, name in enumerate(("exp3", "exp4_head")):
        assert browser_page.locator(f"#title-{side}").inner_text() == name
        browser_page.locator(f"#frames-{side} img").wait_for()
    assert "exp3, exp4_head" in browser_page.locator("#in-memory").inner_text()


def test_the_page_loads_nothing_from_elsewhere(browser_page: Any, page_of_demo: ServedPage) -> None:
    browser_page.locator("#words textarea").fill(WORDS)
    predict(browser_page, "Absent: picture (no clip).")
    asked_for = [url for url in browser_page.asked_for if not url.startswith(("data:", "blob:"))]
    assert len(asked_for) > 10
    assert [url for url in asked_for if not url.startswith(page_of_demo.url)] == []


def test_an_example_and_a_recording_are_predicted(browser_page: Any) -> None:
    browser_page.get_by_text(re.compile("^joy: ")).click()
    browser_page.locator("#clip video").wait_for()
    assert "the true emotion is joy." in predict(browser_page, "Absent: nothing.")
    assert sum(percents(browser_page, 0).values()) == pytest.approx(100, abs=4)  # whole percents

    browser_page.reload()
    browser_page.wait_for_function("document.querySelector('#first input')?.value")
    browser_page.get_by_role("button", name="Capture from camera").click()
    browser_page.get_by_text("Click to Access Webcam").click()
    browser_page.get_by_role("button", name="start recording").click()
    browser_page.wait_for_timeout(2 * SECONDS)
    browser_page.wait_for_function("window.recordedBytes > 30000")
    browser_page.locator("#clip button").first.click()  # the same button stops
    browser_page.get_by_role("button", name="Trim video to selection").wait_for()
    predict(browser_page, "Absent: words (no words).")
    browser_page.locator("#frames-0 img").wait_for()


def test_a_click_on_the_timeline_plays_the_video_from_there(browser_page: Any, tmp_path: Path) -> None:
    video = make_clip(tmp_path / "a.mp4", seconds=3.0)
    subtitles = tmp_path / "a.srt"
    subtitles.write_text("1\n00:00:00,000 --> 00:00:01,000\nHi .\n\n2\n00:00:02,000 --> 00:00:03,000\nNo !\n")
    browser_page.get_by_role("tab", name=re.compile("^Many")).click()
    with browser_page.expect_response(re.compile("upload")):
        browser_page.locator("#files input[type=file]").set_input_files([video, subtitles])
    browser_page.get_by_role("button", name="Predict all").click()
    browser_page.locator(".timeline a[data-second='2.0']").click()
    browser_page.wait_for_function("document.querySelector('#player video').currentTime >= 2")
    assert browser_page.locator("#note-many").inner_text().startswith("2 utterances: ")
    browser_page.locator("#downloads a[href$='emotions.srt']").wait_for()


def test_what_is_wrong_stands_on_the_page_in_words(browser_page: Any, tmp_path: Path) -> None:
    assert predict(browser_page, "There is no input yet")
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"\0\0\0\x18ftypisom" + bytes(100))
    upload(browser_page, bad)
    assert "unreadable" in predict(browser_page, "This cannot be predicted.")
    assert "Traceback" not in browser_page.content()
    assert not browser_page.locator("#label-0", has_text="%").is_visible()


def test_a_port_in_use_is_refused_in_words(page_of_demo: ServedPage, demo_project: DemoProject) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        done = demo_project.kedro("app", f"--port={held.getsockname()[1]}", check=False)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert re.search(r"Error: port \d+: .*kedro app --port=7861", " ".join(said.split()))
    assert "Traceback" not in said
