"""The running page, asked as a program asks it: what it answers, and what it keeps to itself."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file

from support import served_page
from support.made_corpus import write_ecf
from support.made_media import make_clip
from support.served_page import SOURCES, ServedPage, free_port, serve_folder
from trimood.serving.predictor import Prediction, Utterance, load_predictor

pytestmark = pytest.mark.slow  # starting the page takes seconds

PARTS = ("title", "note", "label", "why", "frames", "sound")


@pytest.fixture(scope="module")
def page(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPage]:
    folder = tmp_path_factory.mktemp("page")
    corpus = folder / "corpus"
    (corpus / "test").mkdir(parents=True)
    write_ecf(corpus, {5: ["joy"]}, "Subtask_2_test.json")
    make_clip(corpus / "test" / "dia5utt1.mp4")
    with serve_folder(trained_folder, folder) as page:
        yield page


@pytest.fixture(scope="module")
def client(page: ServedPage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client(page.url, verbose=False, download_files=tmp_path_factory.mktemp("answers"))
    yield client
    client.close()


def ask(client: Client, clip: Path | None, words: str, first: str = "exp6_head", second: str = "–") -> list[dict]:
    """What each side of the page shows, by the names of PARTS."""
    video = handle_file(clip) if clip else None
    answer = client.predict(first, second, video, words, "", "", "", api_name="/predict")
    return [dict(zip(PARTS, answer[start : start + len(PARTS)], strict=True)) for start in (0, len(PARTS))]


def as_table(label: dict[str, Any]) -> dict[str, float]:
    return {row["label"]: row["confidence"] for row in label["value"]["confidences"]}


def test_the_page_answers_with_the_calibrated_probabilities_of_both_models(
    client: Client, trained_folder: Path, clips: Path
) -> None:
    sides = ask(client, clips / "whole.mp4", "so happy !", "exp6_head", "exp3")
    for name, side in zip(("exp6_head", "exp3"), sides, strict=True):
        (wanted,) = load_predictor(name, trained_folder).predict([Utterance(clips / "whole.mp4", "so happy !")])
        assert isinstance(wanted, Prediction)
        assert as_table(side["label"]) == pytest.approx(wanted.calibrated, abs=1e-9)
        assert side["title"] == f"## {name}"
        assert side["why"].startswith("| without | ")


def test_an_example_is_called_right_or_wrong_and_many_clips_are_a_table_with_files(
    page: ServedPage, client: Client, tmp_path: Path
) -> None:
    clip = page.uploads.parent / "corpus" / "test" / "dia5utt1.mp4"
    side, _ = ask(client, clip, "I feel joy , number 1 !")
    assert "the true emotion is joy." in side["note"]
    words = tmp_path / "words.csv"
    words.write_text("clip,text,emotion\ndia5utt1,I feel joy,joy\n")
    note, _, _, table, files, memory = client.predict(
        "exp6_head", [handle_file(clip), handle_file(words)], api_name="/predict_many"
    )
    assert note.startswith("1 utterance: ")
    assert "Against 1 true emotion: " in note
    assert table["value"]["headers"] == ["utterance", "emotion", "true", "words"]
    assert [Path(file).name for file in files["value"]] == ["predictions.csv", "predictions.html"]
    assert memory == "In memory: exp6_head"


def test_a_video_with_subtitles_is_played_as_it_was_uploaded_and_files_of_earlier_answers_are_removed(
    page: ServedPage, client: Client, clips: Path, tmp_path: Path
) -> None:
    subtitles = tmp_path / "whole.srt"
    subtitles.write_text("1\n00:00:00,000 --> 00:00:00,400\nHi .\n\n2\n00:00:00,400 --> 00:00:01,000\nNo !\n")
    files = [handle_file(clips / "whole.mp4"), handle_file(subtitles)]
    for _ in range(2):
        _, player, timeline, _, downloads, _ = client.predict("exp6_head", files, api_name="/predict_many")
    (address,) = re.findall(r'<video [^>]*src="([^"]+)"', player["value"])
    played = httpx.get(f"{page.url}{address}")
    assert (played.content, played.headers["Content-Type"]) == ((clips / "whole.mp4").read_bytes(), "video/mp4")
    assert timeline["value"].count("data-second=") == 2
    assert len(downloads["value"]) == 3
    assert len(list(page.uploads.glob("trimood-app-*/answers/*"))) == 1


@pytest.mark.parametrize(
    ("clip", "words", "said"),
    [
        ("whole.mp4", "", "Absent: words (no words)."),
        (None, "so happy !", "Absent: picture (no clip), sound (no clip)."),
        ("broken.mp4", "so happy !", "This cannot be predicted. unreadable: "),
        (None, "", "There is no input yet"),
    ],
)
def test_what_is_absent_or_wrong_stands_on_the_page(
    client: Client, clips: Path, clip: str | None, words: str, said: str
) -> None:
    side, _ = ask(client, clips / clip if clip else None, words)
    assert said in side["note"]


def call(page: ServedPage, *data: Any) -> str:
    """What the server answers to a request that is written by hand: gradio_client uploads whatever it is given."""
    address = f"{page.url}gradio_api/call/predict"
    event = httpx.post(address, json={"data": data}).json()["event_id"]
    return httpx.get(f"{address}/{event}", timeout=60).text


def test_files_that_nobody_uploaded_are_neither_read_nor_shown(
    page: ServedPage, clips: Path, trained_folder: Path
) -> None:
    files = (clips / "whole.mp4", trained_folder / "exp3" / "calibration.json", Path(__file__), Path("/etc/passwd"))
    for file in files:
        assert file.is_file()
        assert httpx.get(f"{page.url}gradio_api/file={file}").status_code == 403
    assert call(page, "exp3", "–", None, "so happy !", "", "", "").startswith("event: complete")
    not_uploaded = {"path": str(clips / "whole.mp4"), "meta": {"_type": "gradio.FileData"}}
    assert call(page, "exp3", "–", not_uploaded, "so happy !", "", "", "").startswith("event: error")


def test_a_model_that_is_not_offered_is_not_loaded(client: Client) -> None:
    with pytest.raises(Exception, match="not in the list of choices"):
        ask(client, None, "so happy !", "../exp3")


def test_the_page_is_for_this_machine_alone_and_tells_nobody(page: ServedPage) -> None:
    assert page.url.startswith("http://127.0.0.1:")
    port = int(page.url.rstrip("/").rpartition(":")[2])
    with socket.socket() as other:
        other.bind(("127.0.0.2", port))  # would be taken if the page listened on all addresses
    assert page.config["analytics_enabled"] is False
    assert page.config["run_history"] is False


def test_a_foreign_host_is_refused_so_that_no_other_page_can_speak_to_this_one(page: ServedPage) -> None:
    for path in ("", "config", "gradio_api/info"):
        assert httpx.get(f"{page.url}{path}", headers={"Host": "evil.com"}).status_code == 403
        assert httpx.get(f"{page.url}{path}").status_code == 200


def test_requests_that_are_too_large_or_no_json_are_refused(page: ServedPage) -> None:
    address = f"{page.url}gradio_api/call/predict"
    large = httpx.post(address, json={"data": ["exp3", "–", None, "happy " * 300_000, "", "", ""]})
    assert (large.status_code, large.json()["message"]) == (413, "the body is larger than the maximum of 1 MB.")
    nested = httpx.post(address, content=b"[" * 100_000, headers={"Content-Type": "application/json"})
    assert (nested.status_code, nested.json()["message"]) == (400, "the body is JSON that is nested too deeply.")
    upload = httpx.post(f"{page.url}gradio_api/upload", files={"files": ("a.mp4", bytes(52_000_000))})
    assert (upload.status_code, upload.json()["message"]) == (413, "the body is larger than the maximum of 51 MB.")


def test_examples_of_the_corpus_are_offered(page: ServedPage) -> None:
    labels = [c["props"].get("sample_labels") for c in page.config["components"] if c["type"] == "dataset"]
    assert labels == [["joy: I feel joy , number 1 !"]]


def test_a_page_that_does_not_answer_in_time_is_not_called_served(tmp_path: Path) -> None:
    on_a_busy_machine = """
import runpy, sys
import gradio.networking
gradio.networking.url_ok = lambda url: False
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    page = [str(served_page.__file__), str(tmp_path), str(tmp_path), str(free_port())]
    done = subprocess.run(
        [sys.executable, "-c", on_a_busy_machine, *page],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1
    assert re.search(r"CannotServe: http://127\.0\.0\.1:\d+ does not answer within 3 s\.", done.stderr)
    assert "The page is at" not in done.stderr


def test_without_a_trained_model_it_says_what_to_do_and_when_closed_no_upload_is_left(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):  # which knows nothing of this page
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    wanted = f"There is no trained model in {tmp_path}/06_models yet. Run `make demo` first, then reload this page."
    with serve_folder(tmp_path / "06_models", tmp_path) as page:
        monkeypatch.undo()
        assert wanted in page.log
        assert page.part("no-model")["value"] == wanted
        client = Client(page.url, verbose=False, download_files=tmp_path / "answers")
        answer = client.predict(None, "–", handle_file(clips / "mute.mp4"), "", "", "", "", api_name="/predict")
        client.close()
        assert answer[1] == wanted
        assert list(page.uploads.rglob("mute.mp4"))
    assert page.process.returncode == 0
    assert not list(page.uploads.glob("trimood-app-*"))
