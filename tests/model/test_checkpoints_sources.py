"""Checkpoints are found in a folder, in the cache or on a hub, and what is not found says what to do."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from support.made_checkpoints import TINY_VIDEO, load_whole, made_checkpoint
from trimood.model.checkpoints import locate
from trimood.model.config import FULL_SIZE_AUDIO, FULL_SIZE_VIDEO, CheckpointError, read_config
from trimood.model.towers import LanguageBind

CONFIGURATION = {"config.json", "vocab.json", "merges.txt"}


def use_hub(address: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the variables HF_ENDPOINT and HF_HOME set when huggingface_hub is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A hub of one repository, owner/tiny, on this computer: its address, and what was asked of it."""
    folder = made_checkpoint(tmp_path / "repository", TINY_VIDEO, file="safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"not to be fetched")
    (folder / "flax_model.msgpack").write_bytes(b"not to be fetched")
    asked: list[str] = []
    commit = "0" * 40

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = self.path.split("?")[0]
            asked.append(f"{self.command} {path}")
            files = {file.name: file for file in folder.iterdir()}
            name = path.rsplit("/", 1)[-1]
            if path.startswith("/api/models/owner/tiny/tree"):
                tree = [{"type": "file", "path": n, "size": f.stat().st_size, "oid": n} for n, f in files.items()]
                self.send("application/json", json.dumps(tree).encode())
            elif path.startswith("/api/models/owner/tiny"):
                siblings = [{"rfilename": file} for file in files]
                info = {"id": "owner/tiny", "sha": commit, "siblings": siblings}
                self.send("application/json", json.dumps(info).encode())
            elif path.startswith("/owner/tiny/resolve") and name in files:
                self.send("application/octet-stream", files[name].read_bytes(), ETag=f'"{name}"')
            else:
                self.send_error(404)

        def send(self, kind: str, content: bytes, **headers: str) -> None:
            self.send_response(200)
            for key, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
                self.send_header(key, value)
            self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(hub: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_hub(hub[0], tmp_path / "cache", monkeypatch)
    return tmp_path / "cache"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_a_hub_name_is_fetched_once_and_without_what_is_not_needed(hub: tuple[str, list[str]], cache: Path) -> None:
    folder = locate("owner/tiny")
    assert folder.is_relative_to(cache)
    assert names(folder) == CONFIGURATION | {"model.safetensors"}
    assert load_whole(folder).config == TINY_VIDEO
    assert any(question.endswith("model.safetensors") for question in hub[1])
    hub[1].clear()
    assert locate("owner/tiny") == locate("owner/tiny", weights=False) == folder
    assert hub[1] == []


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_the_weights_are_fetched_after_the_configuration_was() -> None:
    assert names(locate("owner/tiny", weights=False)) == CONFIGURATION
    assert names(locate("owner/tiny")) == CONFIGURATION | {"model.safetensors"}


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_the_bin_file_is_fetched_where_there_is_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "repository/model.safetensors").unlink()
    assert names(locate("owner/tiny")) == CONFIGURATION | {"pytorch_model.bin"}


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_a_repository_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "repository/model.safetensors").unlink()
    (tmp_path / "repository/pytorch_model.bin").unlink()
    with pytest.raises(CheckpointError, match="no weights here"):
        locate("owner/tiny")


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_a_name_that_the_hub_does_not_know_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"owner/other: no folder has this name.*404"):
        locate("owner/other")


@pytest.mark.parametrize("weights", [True, False])
def test_a_hub_out_of_reach_says_how_to_go_on_without_it(
    weights: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub("http://127.0.0.1:9", tmp_path, monkeypatch)
    with pytest.raises(
        CheckpointError, match=r"owner/tiny: no folder has this name.*hf download owner/tiny --local-dir"
    ):
        locate("owner/tiny", weights)


def test_a_folder_without_its_files_is_refused(tmp_path: Path) -> None:
    folder = made_checkpoint(tmp_path / "checkpoint", TINY_VIDEO)
    assert locate(str(folder)) == folder
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(CheckpointError, match="no weights here"):
        locate(str(folder))
    assert locate(str(folder), weights=False) == folder
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json here"):
        locate(str(folder))
    with pytest.raises(CheckpointError, match=r"no such folder\. Give a folder"):
        locate(str(tmp_path / "elsewhere"))


@pytest.mark.hub
@pytest.mark.parametrize(("name", "positions"), [("Video_FT", 257), ("Audio_FT", 593)])
def test_the_published_configurations_are_the_sizes_that_the_experiments_count(name: str, positions: int) -> None:
    config = read_config(locate(f"LanguageBind/LanguageBind_{name}", weights=False))
    expected = FULL_SIZE_VIDEO if name == "Video_FT" else FULL_SIZE_AUDIO
    with torch.device("meta"):
        shapes, counted = ({n: t.shape for n, t in LanguageBind(c).state_dict().items()} for c in (config, expected))
    assert config.vision.position_count == positions
    assert shapes == counted
