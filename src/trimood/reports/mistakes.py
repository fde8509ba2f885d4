"""Utterances to look at: the surest mistakes of each experiment, and what experiments disagree on."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from trimood.emotions import Modality
from trimood.media.errors import PartError
from trimood.media.parts import Location
from trimood.reports.clips import Thumbnails, thumbnails
from trimood.scoring.errors import CHANGES, disagreement, mean_answers, surest_mistakes

MISTAKES = 3
"""Mistakes that are shown of each experiment."""

DISPUTED = 4
"""Utterances that are shown of those on which experiments disagree."""

LINES_BEFORE = 2
"""Lines of the conversation that are shown before an utterance."""

AGREED_BITS = 0.01
"""Below, experiments count as agreeing."""


@dataclass(frozen=True)
class Given:
    """What an experiment answers to an utterance; `probability` is a mean over its seeds.

    `changes`: how the probability of the predicted emotion changes if a modality is taken away, for each modality that
    the experiment uses; means over the `agreeing_seeds`, which predict this emotion themselves. Empty if none does;
    None if the experiment's runs have not stored it.
    """

    system: str
    predicted: str
    probability: float
    is_right: bool
    seeds: int
    right_seeds: int
    agreeing_seeds: int
    changes: Mapping[Modality, float] | None


@dataclass(frozen=True)
class Shown:
    """An utterance with its pictures and what experiments answer; `place` is its anchor on the page.

    `seen_above`: it has the same pictures as an earlier one, whose anchor this is. `lacking`: why there is no picture.
    """

    place: str
    utterance: str
    speaker: str
    text: str
    emotion: str
    before: list[tuple[str, str]]
    given: list[Given]
    clip: Thumbnails | None = None
    lacking: str = ""
    seen_above: str = ""


@dataclass(frozen=True)
class Mistakes:
    """The shown utterances: for each experiment, and those that experiments disagree on."""

    of_systems: dict[str, list[Shown]] = field(default_factory=dict)
    disputed: list[Shown] = field(default_factory=list)

    @property
    def without_changes(self) -> list[str]:
        """Experiments whose runs have not stored what each modality contributes to an answer."""
        every = [given for shown in (*self.of_systems.values(), self.disputed) for one in shown for given in one.given]
        return list(dict.fromkeys(given.system for given in every if given.changes is None))


def find_mistakes(predictions: pd.DataFrame, examples: pd.DataFrame, prepared_clips: Location) -> Mistakes:
    """Chooses the utterances among `predictions` of experiments, and reads the clips of these alone.

    `examples` is the present table of test examples. An utterance that is not among them with the same words, and a
    clip that is no longer prepared, have no pictures: the report says so.
    """
    answers = mean_answers(predictions)
    systems = list(answers["system"].unique())
    first = predictions[(predictions["split"] == "test") & (predictions["system"] == systems[0])]
    lines = first.drop_duplicates("utterance").set_index("utterance")
    by_system = {(row["utterance"], row["system"]): row for row in answers.to_dict("records")}
    shown: dict[str, str] = {}

    def show(utterance: str, place: str, of: list[str]) -> Shown:
        line = lines.loc[utterance]
        clip, lacking = (None, "") if utterance in shown else _pictures(line, examples, prepared_clips)
        above = shown.get(utterance, "")
        shown.setdefault(utterance, place)
        return Shown(
            place=place,
            utterance=utterance,
            speaker=_speaker(line),
            text=str(line["text"]),
            emotion=str(line["emotion"]),
            before=_lines_before(line, lines),
            given=[_given(system, by_system[utterance, system]) for system in of],
            clip=clip,
            lacking=lacking,
            seen_above=above,
        )

    wrong = surest_mistakes(answers, MISTAKES)
    found = Mistakes(
        of_systems={
            system: [
                show(utterance, f"mistake-{number}-{place}", [system])
                for place, utterance in enumerate(wrong.loc[wrong["system"] == system, "utterance"], 1)
            ]
            for number, system in enumerate(systems, 1)
        }
    )
    bits = disagreement(answers)
    most = [str(name) for name in bits[bits > AGREED_BITS].index[:DISPUTED]] if len(systems) > 1 else []
    found.disputed.extend(show(name, f"disputed-{place}", systems) for place, name in enumerate(most, 1))
    return found


def _given(system: str, row: Mapping[Hashable, Any]) -> Given:
    changes = {modality: float(row[name]) for modality, name in CHANGES.items() if pd.notna(row[name])}
    agreeing = int(row["agreeing_seeds"])
    return Given(
        system=system,
        predicted=str(row["predicted"]),
        probability=float(row["probability"]),
        is_right=bool(row["predicted"] == row["emotion"]),
        seeds=int(row["seeds"]),
        right_seeds=int(row["right_seeds"]),
        agreeing_seeds=agreeing,
        changes=changes if changes or not agreeing else None,
    )


def _lines_before(line: pd.Series, lines: pd.DataFrame) -> list[tuple[str, str]]:
    """Speaker and text of the lines before it that are in the test split, the earliest first."""
    same = lines[lines["conversation_id"] == line["conversation_id"]]
    before = same[same["utterance_id"] < line["utterance_id"]].sort_values("utterance_id").tail(LINES_BEFORE)
    return [(_speaker(row), str(row["text"])) for _, row in before.iterrows()]


def _speaker(line: "pd.Series[Any]") -> str:
    return str(line.get("speaker", ""))


def _pictures(line: pd.Series, examples: pd.DataFrame, prepared_clips: Location) -> tuple[Thumbnails | None, str]:
    """The pictures of an utterance, or why there are none."""
    same = examples[(examples["utterance"] == line.name) & (examples["text"] == line["text"])]
    if same.empty or "part" not in same:
        return None, "It is not in the present test examples, so its clip is not shown."
    part = str(same["part"].iloc[0])
    if not part:
        return None, "It has no clip."
    try:
        return thumbnails(prepared_clips / part), ""
    except PartError:
        return None, "Its prepared clip is gone; kedro run --pipelines=preprocessing prepares it again."
