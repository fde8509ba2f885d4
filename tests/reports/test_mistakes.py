"""Utterances to look at, with and without their clips."""

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import save_file

from support.made_systems import HEAD, made_comparison, made_system
from trimood.emotions import CLASS_NUMBERS, EMOTIONS
from trimood.reports.comparison import comparison_page
from trimood.reports.mistakes import DISPUTED, MISTAKES, Mistakes, find_mistakes

CHANCES = [f"p_{name}" for name in EMOTIONS]
LINES = 8
SURE = {"exp3": 0.6, "exp4": 0.9}


def made_predictions() -> pd.DataFrame:
    """A conversation of joy. exp4 says anger, the surer the later the line; exp3 is right from line 5 on."""
    rows = []
    for system, sure in SURE.items():
        for line in range(1, LINES + 1):
            right = system == "exp3" and line > 4
            predicted = "joy" if right else "anger"
            chance = sure - 0.3 + 0.03 * line
            others = (1 - chance) / 6
            rows.append(
                {
                    "system": system,
                    "seed": 1,
                    "split": "test",
                    "utterance": f"dia1utt{line}",
                    "conversation_id": 1,
                    "utterance_id": line,
                    "speaker": "<b>Ross",
                    "text": f"line {line}",
                    "emotion": "joy",
                    "label": CLASS_NUMBERS["joy"],
                    "predicted": predicted,
                    **{f"p_{name}": chance if name == predicted else others for name in EMOTIONS},
                    "without_text": chance - 0.25 if system == "exp4" else np.nan,
                }
            )
    return pd.DataFrame(rows)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Clips with and without picture or sound; that of line 5 is damaged."""
    frames = np.zeros((8, 3, 20, 20), dtype=np.uint8)
    frames[4:, 0] = 255
    energies = np.arange(200, dtype=np.float32).reshape(50, 4)
    save_file({"frames": frames, "log_mel": energies}, tmp_path / "whole")
    save_file({"log_mel": energies}, tmp_path / "blind")
    (tmp_path / "damaged").write_bytes(b"no part")
    return tmp_path


PARTS = {8: "whole", 7: "blind", 6: "", 5: "damaged", 4: "whole"}
EXAMPLES = pd.DataFrame(
    [{"utterance": f"dia1utt{line}", "text": f"line {line}", "part": part} for line, part in PARTS.items()]
)


@pytest.fixture
def found(clips: Path) -> Mistakes:
    return find_mistakes(made_predictions(), EXAMPLES, clips)


def test_the_surest_mistakes_come_with_true_emotion_lines_before_and_what_modalities_change(found: Mistakes) -> None:
    mistakes = found.of_systems["exp4"]
    assert [shown.utterance for shown in mistakes] == ["dia1utt8", "dia1utt7", "dia1utt6"]
    first = mistakes[0]
    assert (first.emotion, first.text) == ("joy", "line 8")
    assert first.before == [("<b>Ross", "line 6"), ("<b>Ross", "line 7")]
    (given,) = first.given
    assert (given.predicted, given.is_right, given.right_seeds, given.seeds) == ("anger", False, 0, 1)
    assert given.probability == pytest.approx(0.84)
    assert given.changes == {"text": pytest.approx(-0.25)}
    assert len(found.of_systems["exp3"]) == MISTAKES
    assert found.of_systems["exp3"][-1].before == [("<b>Ross", "line 1")]


def test_it_is_said_how_many_seeds_what_a_modality_changes_is_a_mean_of() -> None:
    """The mean of the two seeds says anger, which one of them says; of the other line it says fear, which none says."""
    mine = made_predictions().query("system == 'exp4' and utterance_id <= 2")
    chances = {"p_joy": [0.6, 0.52], "p_anger": [0.35, 0.0], "p_fear": [0.05, 0.48]}
    first = mine.assign(**dict.fromkeys(CHANCES, 0.0)).assign(predicted="joy", without_text=0.9, **chances)
    swapped = {"p_joy": [0.1, 0.0], "p_anger": [0.9, 0.52], "p_fear": [0.0, 0.48]}
    second = first.assign(seed=2, predicted="anger", without_text=0.4, **swapped)
    found = find_mistakes(pd.concat([first, second]), EXAMPLES, Path("unused"))
    given = {shown.utterance: shown.given[0] for shown in found.of_systems["exp4"]}
    assert (given["dia1utt1"].predicted, given["dia1utt1"].agreeing_seeds) == ("anger", 1)
    assert given["dia1utt1"].changes == {"text": pytest.approx(-0.5)}
    assert (given["dia1utt2"].predicted, given["dia1utt2"].agreeing_seeds) == ("fear", 0)
    assert given["dia1utt2"].changes == {}
    assert found.without_changes == []
    system = made_system(0.4, (1, 2), modalities="text", **HEAD)
    page = comparison_page(made_comparison(system), {}, found)
    assert "text -0.50 (over the 1 of 2 seeds that say anger)." in page
    assert "No seed says fear itself" in page


def test_what_runs_have_not_stored_is_said_and_not_missed(found: Mistakes) -> None:
    assert found.of_systems["exp3"][0].given[0].changes is None
    assert found.without_changes == ["exp3"]


def test_disputed_are_the_lines_on_which_experiments_disagree_most(found: Mistakes) -> None:
    assert [shown.utterance for shown in found.disputed] == ["dia1utt8", "dia1utt7", "dia1utt6", "dia1utt5"]
    assert len(found.disputed) == DISPUTED
    assert [(given.system, given.is_right) for given in found.disputed[0].given] == [("exp3", True), ("exp4", False)]
    alone = made_predictions().query("system == 'exp4'")
    assert find_mistakes(alone, EXAMPLES, Path()).disputed == []


def test_a_clip_is_shown_once_and_its_absence_is_explained(found: Mistakes) -> None:
    whole, blind, none = found.of_systems["exp4"]
    assert whole.clip is not None
    assert blind.clip is not None
    strip = Image.open(BytesIO(base64.b64decode(whole.clip.frames or "")))
    assert strip.size == (4 * 104, 104)
    left, right = strip.getpixel((10, 50)), strip.getpixel((400, 50))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert left[0] < 20
    assert right[0] > 230
    assert whole.clip.seconds == 0.5
    heat = Image.open(BytesIO(base64.b64decode(whole.clip.log_mel or ""))).convert("L")
    corners = [heat.getpixel(place) for place in ((2, 100), (205, 2))]  # the lowest and the highest energy
    assert corners[0] < corners[1]  # type: ignore[operator]
    assert (blind.clip.frames, blind.lacking) == (None, "")
    assert (none.clip, none.lacking) == (None, "It has no clip.")
    assert found.disputed[0].seen_above == whole.place
    assert "prepared clip is gone" in found.disputed[3].lacking
    assert "not in the present test examples" in found.of_systems["exp3"][1].lacking  # line 3
    reworded = EXAMPLES.assign(text="other words")
    of_others = find_mistakes(made_predictions(), reworded, Path()).of_systems["exp4"][0]
    assert "not in the present test examples" in of_others.lacking


def test_the_page_shows_them_as_text_with_alternative_words(found: Mistakes) -> None:
    systems = {"exp3": made_system(0.4, modalities="text, video", **HEAD)}
    compared = made_comparison(made_system(0.5, modalities="text, video", **HEAD), systems)
    page = comparison_page(compared, {}, found)
    for words in (
        'alt="Frames of dia1utt8, from its beginning to its end" src="data:image/jpeg;base64,',
        "Its clip has no picture.",
        "exp4 says <strong>anger</strong> (0.84), wrong",
        "Without text -0.25",
        "not shown for exp3: its runs have not stored it",
        f'<a href="#{found.of_systems["exp4"][0].place}">',
        "&lt;b&gt;Ross: “line 8”",
        "The surest mistakes of exp4",
    ):
        assert words in page, words
    assert "<b>" not in page
    assert "Where errors are</h2>" not in page  # no groups were given
