"""Takes the pictures of README and docs from finished results, and checks our own pages with axe.

    make results
    python scripts/take_pictures.py [mlflow] [viz] [predictions] [reports] [app]

Needs a Chromium on the PATH. Without names, all are done; `reports` are checked only. Ends with status 1 if axe finds
anything serious or critical, which is what keeps people from reading a page (https://github.com/dequelabs/axe-core).
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

PROJECT = Path(__file__).parents[1]
PICTURES = PROJECT / "docs" / "pictures"
DATA = PROJECT / "data" / "demo"
REPORTING = DATA / "08_reporting"
BIN = Path(sys.executable).parent

SECONDS = 1000
"""Playwright's times are milliseconds."""

PATIENCE_SECONDS = 180
SETTLED = 6 * SECONDS
"""How long MLflow and Kedro-Viz draw after they have loaded; they show no end of it."""

GRAVE = ("serious", "critical")
MODEL = "exp6"
"""The model of the picture of predictions: the published one with all three modalities."""


class Checked:
    """What axe has found on the pages so far."""

    def __init__(self) -> None:
        self.pages = 0
        self.grave: list[str] = []

    def page(self, page: Any, name: str) -> None:
        """Runs axe on an open page."""
        from axe_playwright_python.sync_playwright import Axe

        self.pages += 1
        for of in Axe().run(page).response["violations"]:
            places = [" ".join(map(str, node["target"])) for node in of["nodes"]]
            line = f"{name}: {of['impact']}: {of['id']}: {of['help']} ({len(places)} places, such as {places[0]})"
            sys.stdout.write(f"{line}\n")
            if of["impact"] in GRAVE:
                self.grave.append(line)


def main() -> None:
    """Takes the pictures that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TAKES)}; all by default")
    parser.add_argument("--to", type=Path, default=PICTURES, help="the folder of the pictures")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(TAKES):
        parser.error(f"no such picture: {', '.join(sorted(unknown))}; there are {', '.join(TAKES)}")
    if not (REPORTING / "comparison" / "report.html").exists():
        sys.exit(f"{REPORTING / 'comparison'}: no report of a comparison. Run this first: make results")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("no Chromium on the PATH. Install one with the system's packages, such as apt-get install chromium")
    from playwright.sync_api import sync_playwright

    arguments.to.mkdir(parents=True, exist_ok=True)
    checked = Checked()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in arguments.names or TAKES:
            TAKES[name](browser, arguments.to, checked)
            sys.stdout.write(f"{name}: done\n")
        browser.close()
    if checked.grave:
        sys.exit(f"axe has found {len(checked.grave)} serious or critical problems:\n" + "\n".join(checked.grave))
    sys.stdout.write(f"axe has found nothing serious or critical in {checked.pages} pages\n")


def mlflow_view(browser: Any, to: Path, checked: Checked) -> None:
    """The saved view of all trainings."""
    import mlflow

    from trimood.tracking.view import link

    store = "sqlite:///mlflow.db"
    mlflow.set_tracking_uri(f"sqlite:///{PROJECT}/mlflow.db")
    experiment = mlflow.get_experiment_by_name("trimood")
    if experiment is None:
        sys.exit(f"{PROJECT / 'mlflow.db'}: no MLflow experiment trimood. Run this first: make results")
    view = link(store, experiment.experiment_id).partition("/#")[2]
    port = free_port()
    with serving([BIN / "mlflow", "server", "--workers", "1", "--backend-store-uri", store, "--port", str(port)], port):
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(f"http://127.0.0.1:{port}/#{view}")
        page.get_by_text(re.compile(r"^\d+ matching runs")).wait_for(timeout=60 * SECONDS)
        page.wait_for_timeout(SETTLED)
        for clicked in (
            "assistant.chat_panel.close",
            "experiment_page.shared_view.dismiss",
            "experiment.metadata_editor.expand_button",
        ):
            button = page.locator(f"[data-component-id='mlflow.{clicked}']")
            if button.count():
                button.first.click()
        page.wait_for_timeout(SETTLED)
        page.screenshot(path=to / "mlflow.png")


def kedro_viz(browser: Any, to: Path, checked: Checked) -> None:
    """The steps of exp4 as `make viz` opens them, and the preview of its confusion matrix."""
    port = free_port()
    with serving([BIN / "kedro", "viz", "run", "--no-browser", f"--port={port}", "--pipeline=exp4"], port):
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(f"http://127.0.0.1:{port}/?pid=exp4&types=nodes&expandAllPipelines=true")
        page.locator(".pipeline-node").first.wait_for(timeout=60 * SECONDS)
        page.wait_for_timeout(SETTLED)
        for hint in (page.get_by_text("Dismiss", exact=True), page.locator(".feature-hints__close")):
            if hint.count():
                hint.first.click()
        page.get_by_text("You can revisit these hints").wait_for(state="hidden")
        page.get_by_label("Turn minimap off").click()
        page.mouse.move(1590, 990)  # off the button, whose hint would be in the picture
        page.wait_for_timeout(SECONDS)
        page.screenshot(path=to / "kedro-viz.png")
        page.goto(f"http://127.0.0.1:{port}/?pid=exp4&expandAllPipelines=false&sn=exp4.confusion_matrix")
        page.get_by_text("Expand preview").wait_for(timeout=60 * SECONDS)
        page.wait_for_timeout(SETTLED)
        page.screenshot(path=to / "kedro-viz-preview.png")


def predictions(browser: Any, to: Path, checked: Checked) -> None:
    """Predictions of four test utterances by MODEL: three of which it is right and sure, and one honest mistake."""
    chosen = four_utterances(pd.read_parquet(DATA / "07_model_output" / MODEL / "predictions.parquet"))
    clips = DATA / "07_model_output" / "pictured"
    shutil.rmtree(clips, ignore_errors=True)
    clips.mkdir(parents=True)
    chosen["clip"] = chosen["utterance"] + " (true emotion " + chosen["emotion"] + ").mp4"  # the picture shows names
    for row in chosen.to_dict("records"):
        shutil.copy(DATA / "01_raw" / "corpus" / "test" / f"{row['utterance']}.mp4", clips / row["clip"])
    words = clips / "words.csv"
    chosen[["clip", "text", "emotion"]].to_csv(words, index=False)
    kedro("--pipelines=predict", "--params", f"model={MODEL},clips={clips},text={words}")
    shutil.copy(REPORTING / "own_clips" / "predictions.png", to / "predictions.png")
    for path in sorted((REPORTING / "own_clips").glob("*.html")):
        check_file(browser, path, checked)


def four_utterances(table: pd.DataFrame) -> pd.DataFrame:
    """Of the test utterances: the surest right answer for three emotions, and the surest wrong one.

    A wrong one of an emotion that is not shown yet comes first, and the true emotion is neutral in none.
    """
    test = table[(table["split"] == "test") & (table["emotion"] != "neutral")].copy()
    test["sure"] = test[[name for name in test if name.startswith("p_")]].max(axis=1)
    test = test.sort_values("sure", ascending=False)
    right = test[test["emotion"] == test["predicted"]].drop_duplicates("emotion").head(3)
    wrong = test[test["emotion"] != test["predicted"]]
    unseen = wrong[~wrong["emotion"].isin(right["emotion"])]
    return pd.concat([right, (unseen if len(unseen) else wrong).head(1)])


def reports(browser: Any, to: Path, checked: Checked) -> None:
    """Checks the comparison's report and the data's."""
    if not (REPORTING / "check_data" / "report.html").exists():
        kedro("--pipelines=check_data")
    for name in ("comparison", "check_data"):
        check_file(browser, REPORTING / name / "report.html", checked)


def app(browser: Any, to: Path, checked: Checked) -> None:
    """The page with an example of the corpus that a model has answered."""
    port = free_port()
    with serving([BIN / "kedro", "app", f"--port={port}"], port):
        page = browser.new_page(viewport={"width": 1280, "height": 990})
        page.set_default_timeout(90 * SECONDS)
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_function("document.querySelector('#first input')?.value")
        checked.page(page, "app, opened")
        page.get_by_text(re.compile("^surprise: ")).first.click()
        page.locator("#clip video").wait_for()
        page.get_by_role("button", name="Predict", exact=True).click()
        page.locator("#frames-0 img").wait_for()
        page.mouse.move(0, 0)
        page.wait_for_timeout(3 * SECONDS)
        page.screenshot(path=to / "app.png")
        checked.page(page, "app, answered")


def check_file(browser: Any, path: Path, checked: Checked) -> None:
    """Checks a page that is a file, in light and in dark colours."""
    for colours in ("light", "dark"):
        page = browser.new_page(viewport={"width": 1280, "height": 990}, color_scheme=colours)
        page.goto(path.as_uri())
        checked.page(page, f"{path.relative_to(PROJECT)}, {colours}")


def kedro(*arguments: str) -> None:
    """Runs `kedro run`; its own messages say what goes wrong."""
    if subprocess.run([BIN / "kedro", "run", *arguments], cwd=PROJECT, check=False).returncode:  # noqa: S603
        sys.exit(f"kedro run {' '.join(arguments)} has failed")


@contextmanager
def serving(command: list[Any], port: int) -> Iterator[None]:
    """A server that listens when the block begins and is stopped after it."""
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(  # noqa: S603
        list(map(str, command)), cwd=PROJECT, env=environment, start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + PATIENCE_SECONDS
        while not is_open(port):
            if server.poll() is not None or time.monotonic() > until:
                sys.exit(f"{Path(command[0]).name} {command[1]} does not answer at port {port}")
            time.sleep(0.5)
        yield
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def is_open(port: int) -> bool:
    """Whether something listens at a port of this machine."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A port at which nothing listens; Kedro-Viz takes none of those that the system gives away."""
    return next(port for port in range(4200, 5000) if not is_open(port))


TAKES: dict[str, Callable[[Any, Path, Checked], None]] = {
    "mlflow": mlflow_view,
    "viz": kedro_viz,
    "predictions": predictions,
    "reports": reports,
    "app": app,
}
"""The pictures by name, and what takes them."""


if __name__ == "__main__":
    main()
