"""The cache on file systems that are not this machine's: in memory, behind a real FTP server, in a real S3 service."""

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from upath import UPath

from support.made_media import make_clip
from trimood.media.cache import prepare_clips
from trimood.media.errors import PartError, PreparationError
from trimood.media.execution import Execution
from trimood.media.parts import Location, load_part, problems_in, write_whole
from trimood.media.recipes import AudioRecipe, Recipe, VideoRecipe

RECIPE = Recipe(VideoRecipe(frame_count=4, frame_size_pixels=32), AudioRecipe(mel_bins=16))
SERIAL, TWO = Execution("serial"), Execution("processes", workers=2)

FTP_SERVER = """
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
port, folder = int(sys.argv[1]), sys.argv[2]
users = DummyAuthorizer()
users.add_user("ross", "geller", folder, perm="elradfmw")
handler = type("Handler", (FTPHandler,), {"authorizer": users})
FTPServer(("127.0.0.1", port), handler).serve_forever()
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {f"dia1utt{n}": make_clip(folder / f"dia1utt{n}.mp4", seconds=0.5, seed=n) for n in range(1, 6)}


@pytest.fixture
def memory() -> Iterator[UPath]:
    place = UPath("memory://prepared/clips")
    yield place
    place.fs.rm("/prepared", recursive=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def ftp(tmp_path: Path) -> Iterator[UPath]:
    pytest.importorskip(
        "pyftpdlib", reason="pyftpdlib is not installed: a cache that is moved into place elsewhere is NOT checked"
    )
    (tmp_path / "served").mkdir()
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-c", FTP_SERVER, str(port), str(tmp_path / "served")]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=paths) as server:
        deadline = time.monotonic() + 60
        while not answers(port):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield UPath("ftp://127.0.0.1/prepared", port=port, username="ross", password="geller")  # noqa: S106 - of the test
        server.terminate()


@pytest.fixture
def s3() -> Iterator[UPath]:
    for name in ("s3fs", "moto", "boto3"):
        pytest.importorskip(name, reason=f"{name} is not installed: a cache in an object store is NOT checked")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"key": "ross", "secret": "geller"}
    own = {"aws_access_key_id": keys["key"], "aws_secret_access_key": keys["secret"], "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=address, **own).create_bucket(Bucket="friends")
    yield UPath(f"s3://friends/{uuid.uuid4()}", endpoint_url=address, **keys)
    server.stop()


def is_a_cache(place: Location, clips: dict[str, Path], here: Path, execution: Execution) -> None:
    """What holds for a cache of this machine holds for one at `place`."""
    every = {**clips, "mute": make_clip(here / "mute.mp4", audio="none"), "missing": here / "none.mp4"}
    first = prepare_clips(every, RECIPE, place, execution)
    assert (first.hits, first.misses) == (0, 7)
    again = prepare_clips(every, RECIPE, place, execution)
    assert (again.hits, again.misses, again.parts) == (6, 1, first.parts)
    assert {key: list(found) for key, found in again.problems.items()} == {
        "mute": ["audio"],
        "missing": ["video", "audio"],
    }
    local = prepare_clips(every, RECIPE, here / "cache", SERIAL)
    assert len(local.parts) == 6
    for part in local.parts.values():
        name = "/".join(part.parts[-3:])
        assert (place / name).read_bytes() == part.read_bytes()
        there, own = load_part(place / name), load_part(part)
        assert there.keys() == own.keys()
        assert all(torch.equal(there[tensor], own[tensor]) for tensor in own)
    files = [name for name in place.fs.find(place.path) if not name.endswith(".safetensors")]
    assert files == [], "something unfinished was left"


def test_a_cache_may_lie_in_memory(memory: UPath, clips: dict[str, Path], tmp_path: Path) -> None:
    is_a_cache(memory, clips, tmp_path, SERIAL)


@pytest.mark.slow
def test_a_folder_that_another_process_makes_at_the_same_time_is_taken(ftp: UPath) -> None:
    ftp.mkdir()
    recipe = ftp / "recipe"
    assert not recipe.exists()  # which this process remembers
    other = UPath(ftp.path, protocol="ftp", **ftp.storage_options, skip_instance_cache=True)
    (other / "recipe").mkdir()
    write_whole(recipe / "e0" / "part.safetensors", b"whole")
    assert (other / "recipe" / "e0" / "part.safetensors").read_bytes() == b"whole"


@pytest.mark.slow
@pytest.mark.parametrize("execution", [SERIAL, TWO], ids=["serial", "processes"])
def test_a_cache_may_lie_where_files_are_moved_into_place(
    ftp: UPath, clips: dict[str, Path], tmp_path: Path, execution: Execution
) -> None:
    is_a_cache(ftp, clips, tmp_path, execution)


@pytest.mark.slow
@pytest.mark.parametrize("execution", [SERIAL, TWO], ids=["serial", "processes"])
def test_a_cache_may_lie_in_an_object_store(
    s3: UPath, clips: dict[str, Path], tmp_path: Path, execution: Execution
) -> None:
    is_a_cache(s3, clips, tmp_path, execution)


def test_a_part_elsewhere_that_is_cut_short_is_done_anew(memory: UPath, clips: dict[str, Path], tmp_path: Path) -> None:
    part = prepare_clips(clips, RECIPE, memory, SERIAL).parts["dia1utt3"]
    whole = part.read_bytes()
    part.write_bytes(whole[:-1])
    assert problems_in(part, clips["dia1utt3"]) is None
    with pytest.raises(PartError, match=r"memory://.*not a complete part"):
        load_part(part)
    again = prepare_clips(clips, RECIPE, memory, SERIAL)
    assert (again.hits, again.misses) == (4, 1)
    assert part.read_bytes() == whole


def test_a_place_that_takes_nothing_is_named_in_the_error(memory: UPath) -> None:
    memory.fs.pipe("/prepared/clips", b"a file where the folder should be")
    with pytest.raises(PreparationError, match=r"^memory://prepared/clips/part: cannot be written \("):
        write_whole(memory / "part", b"content")
