"""Clips of strangers are opened in a process of their own, which limits, time and crashes cannot outlive."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from support.bad_requests import pictures, quiet_sound
from support.made_episodes import make_episode
from support.rewritten_media import with_edits
from trimood.config.parameters import ServingParams
from trimood.media.errors import ClipError
from trimood.serving.decoding import Busy, Decoder, _exceeded
from trimood.serving.predictor import Prediction, Predictor, Refusal, TimeIsUp, Utterance, load_predictor
from trimood.serving.requests import BadRequest


@pytest.fixture(scope="module")
def predictor(trained_folder: Path) -> Predictor:
    return load_predictor("exp6_head", trained_folder)


@pytest.fixture(scope="module")
def shared() -> Decoder:
    decoder = Decoder(ServingParams())
    decoder.start()
    return decoder


@pytest.fixture
def decoder(shared: Decoder) -> Iterator[Decoder]:
    """One process for all tests; each may change the limits."""
    before = shared.limits
    yield shared
    shared.limits = before


def limit(decoder: Decoder, **changes: Any) -> None:
    decoder.limits = decoder.limits.model_copy(update=changes)


def refusal(decoder: Decoder, predictor: Predictor, *clips: Path) -> str:
    with pytest.raises(BadRequest) as caught:
        decoder.predict(predictor, [Utterance(clip, "Hi .", clip.name) for clip in clips])
    return str(caught.value)


def work(decoder: Decoder, function: Any, task: object, seconds: float = 60) -> Any:
    """The result of a task that is done in the other process, as that of a clip."""
    ((_, result),) = decoder._work_until(time.monotonic() + seconds)(function, [task], lambda _: Path("clip.mp4"))
    return result


@pytest.mark.slow
def test_it_predicts_as_without_it_to_the_bit(decoder: Decoder, predictor: Predictor, clips: Path) -> None:
    asked = [
        Utterance(clips / "whole.mp4", "so happy !", "a"),
        Utterance(clips / "mute.mp4", "", "b"),
        Utterance(None, "Hi .", "c"),
        Utterance(clips / "broken.mp4", "Hi .", "d"),
    ]
    for found, wanted in zip(decoder.predict(predictor, asked), predictor.predict(asked), strict=True):
        if isinstance(wanted, Refusal):
            assert found == wanted
            continue
        assert isinstance(found, Prediction)
        assert (found.name, found.probabilities, found.absent) == (wanted.name, wanted.probabilities, wanted.absent)
    assert work(decoder, int, "5") == 5
    assert work(decoder, os.getppid, ()) != os.getpid()


@pytest.mark.parametrize("codec", ["png", "mjpeg", "libx264"])
def test_large_frames_are_refused_before_they_are_decoded(
    decoder: Decoder, predictor: Predictor, tmp_path: Path, codec: str
) -> None:
    clip = tmp_path / "wide.mov"
    clip.write_bytes(pictures(640, 480, 2, codec))
    limit(decoder, largest_frame_megapixels=0.3)
    said = refusal(decoder, predictor, clip)
    assert said.startswith("wide.mov: its frames have ")
    assert said.endswith("the maximum is 0.3 megapixels (TRIMOOD_LARGEST_FRAME_MEGAPIXELS).")
    limit(decoder, largest_frame_megapixels=0.31)
    decoder.predict(predictor, [Utterance(clip, "Hi .")])


@pytest.mark.parametrize(("codec", "container"), [("libx264", "mp4"), ("mjpeg", "avi"), ("libx264", "matroska")])
def test_many_frames_are_refused_by_their_number_and_by_their_time(
    decoder: Decoder, predictor: Predictor, tmp_path: Path, codec: str, container: str
) -> None:
    clip = tmp_path / "long"
    clip.write_bytes(pictures(64, 64, 100, codec, container))
    limit(decoder, most_frames=99)
    assert refusal(decoder, predictor, clip) == "long: it has more than 99 frames, the maximum (TRIMOOD_MOST_FRAMES)."
    limit(decoder, most_frames=100, longest_seconds=3.9)
    wanted = "long: it lasts more than 3.9 s, the maximum (TRIMOOD_LONGEST_SECONDS)."
    assert refusal(decoder, predictor, clip) == wanted
    limit(decoder, longest_seconds=4.1)
    decoder.predict(predictor, [Utterance(clip, "Hi .")])


@pytest.mark.parametrize(("codec", "container"), [("libx264", "mp4"), ("mjpeg", "avi"), ("libx264", "matroska")])
def test_of_a_span_the_frames_within_it_count(tmp_path: Path, codec: str, container: str) -> None:
    clip = tmp_path / "long"
    clip.write_bytes(pictures(64, 64, 100, codec, container))  # 25 a second
    limits = ServingParams(most_frames=25)
    assert _exceeded(clip, limits, (2000, 3000)) == ""
    wanted = "it has more than 25 frames, the maximum (TRIMOOD_MOST_FRAMES)."
    assert _exceeded(clip, limits, (2000, 3100)) == wanted
    assert _exceeded(clip, limits, (0, 1100)) == wanted
    assert _exceeded(clip, limits, (3500, 9000)) == ""


@pytest.mark.parametrize(("codec", "container"), [("flac", "flac"), ("aac", "mp4"), ("flac", "matroska")])
def test_long_sound_is_refused(
    decoder: Decoder, predictor: Predictor, tmp_path: Path, codec: str, container: str
) -> None:
    clip = tmp_path / "long"
    clip.write_bytes(quiet_sound(10, codec=codec, container=container))
    limit(decoder, longest_seconds=9)
    assert refusal(decoder, predictor, clip) == "long: it lasts more than 9 s, the maximum (TRIMOOD_LONGEST_SECONDS)."
    limit(decoder, longest_seconds=11)
    decoder.predict(predictor, [Utterance(clip, "Hi .")])


@pytest.mark.slow
def test_what_no_reader_takes_of_a_clip_does_not_count(tmp_path: Path) -> None:
    few = ServingParams(longest_seconds=10, largest_frame_megapixels=0.3)
    whole = make_episode(tmp_path / "whole.mp4", 20, key_every=999)
    trimmed = with_edits(whole, tmp_path / "trimmed.mp4", [(15, 5)])
    assert "lasts more than 10 s" in _exceeded(whole, few)
    assert _exceeded(trimmed, few) == ""

    for default, refused in ((0, True), (1, False)):
        clip = tmp_path / f"default_{default}.mkv"
        with av.open(str(clip), "w") as output:
            tracks = [output.add_stream("pcm_s16le", rate=16000, layout="mono") for _ in range(2)]
            tracks[default].disposition = av.stream.Disposition.default
            tracks[1 - default].disposition = av.stream.Disposition(0)
            for track, seconds in zip(tracks, (11, 5), strict=True):
                silence = np.ones((1, seconds * 16000), dtype=np.int16)
                frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
                frame.sample_rate = 16000
                output.mux(track.encode(frame))
        assert ("lasts more than 10 s" in _exceeded(clip, few)) is refused

    covered = tmp_path / "covered.mp4"
    (tmp_path / "cover.mov").write_bytes(pictures(640, 480, 1, "png"))
    small = make_episode(tmp_path / "small.mp4", 2, tracks=())
    with av.open(str(covered), "w") as output, av.open(str(small)) as source, av.open(tmp_path / "cover.mov") as cover:
        video = output.add_stream_from_template(source.streams.video[0])
        picture = output.add_stream_from_template(cover.streams.video[0])
        picture.disposition = av.stream.Disposition.attached_pic
        for read, track in ((cover, picture), (source, video)):
            for packet in read.demux(video=0):
                if packet.size:
                    packet.stream = track
                    output.mux(packet)
    with av.open(str(covered)) as made:
        assert [track.width for track in made.streams.video if track.disposition & av.stream.Disposition.attached_pic]
    assert _exceeded(covered, few) == ""


def test_all_clips_above_a_limit_are_named_at_once(
    decoder: Decoder, predictor: Predictor, clips: Path, tmp_path: Path
) -> None:
    limit(decoder, most_frames=2)
    said = refusal(decoder, predictor, clips / "whole.mp4", clips / "broken.mp4", clips / "mute.mp4")
    assert [line.partition(":")[0] for line in said.splitlines()] == ["whole.mp4", "mute.mp4"]


@pytest.mark.slow
def test_work_that_takes_too_long_is_ended_with_its_process(decoder: Decoder) -> None:
    (process,) = {work(decoder, eval, "__import__('os').getpid()") for _ in range(2)}
    start = time.monotonic()
    limit(decoder, time_limit_seconds=0.5)
    result = work(decoder, time.sleep, 60, seconds=0.5)
    assert time.monotonic() - start < 10
    assert isinstance(result, ClipError)
    assert (result.problem, result.detail) == ("timed_out", "not finished after 0.5 s (TRIMOOD_TIME_LIMIT_SECONDS)")
    assert not Path(f"/proc/{process}").exists()
    assert work(decoder, int, "5") == 5


def test_memory_above_the_limit_is_refused_and_costs_no_later_clip(decoder: Decoder) -> None:
    result = work(decoder, eval, "len(bytearray(2_000_000_000))")
    assert isinstance(result, ClipError)
    assert result.detail == "Decoding a clip may take 1000 MB of memory (TRIMOOD_DECODING_MEGABYTES)."
    assert work(decoder, eval, "len(bytearray(500_000_000))") == 500_000_000


@pytest.mark.slow
def test_a_crash_of_the_decoder_is_the_clips(decoder: Decoder) -> None:
    result = work(decoder, eval, "__import__('os').abort()")
    assert isinstance(result, ClipError)
    assert result.detail.startswith("the process that decoded it died (SIGABRT).")
    assert work(decoder, int, "5") == 5


def test_a_request_waits_for_the_one_before_but_not_for_ever(decoder: Decoder, predictor: Predictor) -> None:
    limit(decoder, time_limit_seconds=0.2)
    with decoder._turn, pytest.raises(Busy, match=r"busy with earlier requests for 0\.2 s"):
        decoder.predict(predictor, [Utterance(None, "Hi .")])
    limit(decoder, time_limit_seconds=30)
    assert len(decoder.predict(predictor, [Utterance(None, "Hi .")])) == 1


def test_no_batch_begins_when_the_time_is_up(decoder: Decoder, predictor: Predictor) -> None:
    with pytest.raises(TimeIsUp):
        predictor.predict([Utterance(None, "Hi .")], until=time.monotonic() - 1)
    limit(decoder, time_limit_seconds=0.000_001)
    with pytest.raises(BadRequest, match=r"not finished after 1e-06 s \(TRIMOOD_TIME_LIMIT_SECONDS\)"):
        decoder.predict(predictor, [Utterance(None, "Hi .")])
