from pathlib import Path

import pytest

from support.made_episodes import make_episode
from trimood.media.episodes import EpisodeError, EpisodeFolder, file_fingerprint, places_in


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_episode(tmp_path_factory.mktemp("made") / "made.mkv", seconds=0.2).read_bytes()


def put(folder: Path, content: bytes, *names: str) -> EpisodeFolder:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return EpisodeFolder(folder)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("S01E01", ((1, 1),)),
        ("s1e1", ((1, 1),)),
        ("Friends.S10E17.1080p.BluRay.x264", ((10, 17),)),
        ("friends - 3x07 - The One with the Race Car Bed", ((3, 7),)),
        ("Friends s03.e07", ((3, 7),)),
        ("Friends_S03_E07_720p", ((3, 7),)),
        ("Friends.S09E23E24", ((9, 23), (9, 24))),
        ("Friends S09E23-E24 1080p", ((9, 23), (9, 24))),
        ("Friends S09E23-24", ((9, 23), (9, 24))),
        ("9x23-24", ((9, 23), (9, 24))),
        ("S01E01-720p", ((1, 1),)),
        ("S01E01 - 24 hours", ((1, 1),)),
        ("Friends 1920x1080", ()),
        ("AAC5.1x264", ()),
        ("making of", ()),
    ],
)
def test_season_and_episode_are_read_from_a_name(name: str, places: tuple[tuple[int, int], ...]) -> None:
    assert places_in(name) == places


@pytest.mark.parametrize(
    "name", ["S01E01.mkv", "s01e01.avi", "Season 1/Friends.S01E01.Pilot.mp4", "Friends/1x01 Pilot.mkv", "S01E01E02.mkv"]
)
def test_an_episode_is_found_by_its_name_or_by_what_its_name_says(tmp_path: Path, video: bytes, name: str) -> None:
    folder = put(tmp_path, video, name, "S01E11.mkv", "S11E01.mkv", "Friends.S02E01.mkv")
    assert folder.find("S01E01") == tmp_path / name


def test_an_episode_of_another_naming_is_found_by_its_exact_name(tmp_path: Path, video: bytes) -> None:
    folder = put(tmp_path, video, "pilot.mkv", "pilot 2.mkv")
    assert folder.find("Pilot") == tmp_path / "pilot.mkv"
    with pytest.raises(EpisodeError, match=r"finale: none of the 2 files in"):
        folder.find("finale")


def test_two_files_for_an_episode_are_named(tmp_path: Path, video: bytes) -> None:
    folder = put(tmp_path, video, "a/Friends.S01E01.mkv", "b/friends 1x01.mp4")
    both = r"a/Friends\.S01E01\.mkv, b/friends 1x01\.mp4"
    with pytest.raises(EpisodeError, match=rf"S01E01: 2 files match: {both}\. .* rename the right one to S01E01\."):
        folder.find("S01E01")


def test_the_exact_name_settles_a_doubt(tmp_path: Path, video: bytes) -> None:
    folder = put(tmp_path, video, "Friends.S01E01.mkv", "friends 1x01.mp4", "S01E01.mkv")
    assert folder.find("S01E01") == tmp_path / "S01E01.mkv"


def test_subtitles_notes_and_pictures_of_the_same_name_are_passed_over(tmp_path: Path, video: bytes) -> None:
    from PIL import Image

    put(tmp_path, video, "Friends.S01E01.mkv")
    put(tmp_path, b"1\n00:00:01,000 --> 00:00:02,000\nHey\n", "Friends.S01E01.srt", "S01E01.srt")
    put(tmp_path, b"<episode/>\n" * 50, "Friends.S01E01.nfo", "Friends.S01E01.txt")
    put(tmp_path, video, "._Friends.S01E01.mkv")
    Image.new("RGB", (64, 64)).save(tmp_path / "Friends.S01E01.jpg")
    Image.new("RGB", (64, 64)).save(tmp_path / "S01E01.png")
    assert EpisodeFolder(tmp_path).find("S01E01") == tmp_path / "Friends.S01E01.mkv"


def test_a_file_that_cannot_be_played_is_named(tmp_path: Path) -> None:
    folder = put(tmp_path, b"half a download", "Friends.S01E01.mkv")
    with pytest.raises(EpisodeError, match=r"no video can be read from Friends\.S01E01\.mkv\. Download"):
        folder.find("S01E01")


def test_the_second_part_of_a_double_file_is_refused_as_its_times_begin_anew(tmp_path: Path, video: bytes) -> None:
    folder = put(tmp_path, video, "Friends.S09E23E24.mkv")
    with pytest.raises(
        EpisodeError, match=r"S09E24: it is the second part of Friends\.S09E23E24\.mkv.*Split that file"
    ):
        folder.find("S09E24")


def test_a_fingerprint_stays_with_a_moved_file_and_changes_with_its_ends_and_size(tmp_path: Path) -> None:
    content = bytes(3 * 2**20)
    prints = []
    for name, change in (("a", {}), ("b", {0: 1}), ("c", {len(content) - 1: 1})):
        changed = bytearray(content)
        for place, value in change.items():
            changed[place] = value
        (tmp_path / name).write_bytes(changed)
        prints.append(file_fingerprint(tmp_path / name))
    (tmp_path / "d").write_bytes(content + b"0")
    assert len({*prints, file_fingerprint(tmp_path / "d")}) == 4
    assert file_fingerprint((tmp_path / "a").rename(tmp_path / "moved")) == prints[0]


def test_episodes_in_linked_folders_are_found_and_circles_end(tmp_path: Path, video: bytes) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "S01E01.MKV").write_bytes(video)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "Season 1").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "all").symlink_to(tmp_path / "lib")
    assert EpisodeFolder(tmp_path / "lib").find("S01E01") == tmp_path / "lib" / "Season 1" / "S01E01.MKV"


def test_an_episode_with_an_accent_is_found_however_it_is_stored(tmp_path: Path, video: bytes) -> None:
    assert put(tmp_path, video, "Pre\u0301face .mkv").find("Pr\u00e9face").is_file()
