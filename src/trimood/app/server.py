"""Serves the page to this machine only."""

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from trimood.app.choices import (
    Choice,
    ModelsInMemory,
    best_first,
    corpus_examples,
    registered_models,
    trained_experiments,
)
from trimood.serving.decoding import Decoder
from trimood.serving.guard import RequestGuard, read_limits
from trimood.serving.requests import parse_json
from trimood.tracking.store import use_store

log = logging.getLogger(__name__)

REQUEST_MEGABYTES = 1.0
"""The largest request apart from uploads: words, and the names of models."""


HOST = "127.0.0.1"


class CannotServe(Exception):
    """Another program uses the port, or the page does not answer."""


def serve(
    models: Path, scores: str, corpus: Path, checkpoints: Mapping[str, str | None], tracking_uri: str, port: int
) -> None:
    """Serves the page until Ctrl+C or SIGTERM, then removes uploads.

    `models`: the folder of experiments; `scores`: the path of an {experiment}'s scores; `corpus`: the folder with
    example clips; `checkpoints` as for `load_predictor`. Raises CannotServe.
    """
    log.info(
        "Starting the page takes some ten seconds: loading MLflow, then Gradio. The first prediction loads the "
        "libraries of the models."
    )
    for room in ("learning", "media"):
        logging.getLogger(f"trimood.{room}").setLevel(logging.WARNING)  # else some lines for each utterance
    limits = read_limits()
    use_store(tracking_uri)
    registered = registered_models(tracking_uri)

    def choices() -> list[Choice]:
        return best_first([*trained_experiments(models, scores), *registered])

    no_model = f"There is no trained model in {models} yet. Run `make demo` first, then reload this page."
    if not choices():
        log.warning(no_model)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="trimood-app-") as folder:
        uploads, answers = (Path(folder) / name for name in ("uploads", "answers"))
        answers.mkdir()
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(uploads)}
        excepted = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        if excepted != "*":  # else a proxy is asked for the page
            os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, (excepted, HOST)))
        import gradio as gr
        from starlette.middleware import Middleware

        from trimood.app.page import CSS, HEAD, READABLE, build_page

        uploads_megabytes = {"/gradio_api/upload": limits.largest_clip_megabytes + REQUEST_MEGABYTES}
        guard = Middleware(
            RequestGuard, limits=limits, megabytes=REQUEST_MEGABYTES, check=_check_body, unread=uploads_megabytes
        )
        page = build_page(
            ModelsInMemory(models, checkpoints, Decoder(limits)), choices, corpus_examples(corpus), no_model, answers
        )
        try:
            page.launch(
                server_name=HOST,
                server_port=port,
                share=False,
                prevent_thread_lock=True,
                quiet=True,
                theme=gr.themes.Default().set(**READABLE),
                css=CSS,
                head=HEAD,
                footer_links=[],
                run_history=False,  # else the browser stores all inputs
                enable_monitoring=False,
                ssr_mode=False,  # else Gradio starts Node if it is installed
                pwa=False,
                mcp_server=False,
                max_file_size=int(limits.largest_clip_megabytes * 1e6),
                app_kwargs={"middleware": [guard]},
            )
        except OSError as error:
            raise CannotServe(f"port {port}: {error}. Give another one: kedro app --port=7861") from error
        except ValueError as error:
            if "localhost is not accessible" not in str(error):  # Gradio has asked the page for an answer
                raise
            page.close(verbose=False)
            raise CannotServe(
                f"http://{HOST}:{port} does not answer within 3 s. Try again when less runs here."
            ) from error
        try:
            log.info("The page is at %s; press Ctrl+C to stop.", page.local_url)
            threading.Event().wait()
        except KeyboardInterrupt:
            log.info("The page is stopped.")
        finally:
            page.close(verbose=False)


def _check_body(body: bytes, content_type: str) -> None:
    if "json" in content_type:
        parse_json(body)
