"""The verdict: is this copy good, usable with losses, or not usable, and what is to be done next."""

from dataclasses import dataclass
from typing import Any, Literal

from trimood.pipelines.check_data.kinds import KINDS

Word = Literal["good", "usable", "annotations only", "not usable"]

FEWEST_USABLE = 0.5
"""Below this share of its clips a corpus is no longer the corpus: mend it, do not drop what is missing."""


WRONG_CLIPS = (
    "same_bytes",
    "duration_differs",
    "sound_and_pictures_differ",
    "sound_nearly_silent",
    "too_many_words",
)
"""Kinds of finding that are chance in one clip and the sign of a wrong folder, cut or conversion in many."""

SUSPICIOUS_SHARE = 0.05
"""Of the clips that are there. In ECF 1 % have too many words a second, and 0.2 % the span of an earlier utterance."""


@dataclass(frozen=True)
class Verdict:
    """`says` is one sentence; `reasons` are why it is not better; `next_steps` are what to do, first things first."""

    word: Word
    says: str
    reasons: tuple[str, ...]
    next_steps: tuple[str, ...]


def judge(
    files: dict[str, Any],
    split_state: dict[str, Any],
    leakage: dict[str, Any],
    clips: dict[str, Any],
    lost_emotions: list[str],
) -> Verdict:
    """`clips` are the summary's counts; `lost_emotions` are annotated in the training split and left with no clip.

    Good: nothing has to be left out, and nothing misleads. Usable: something does, and it is said what. Annotations
    only: there is no clip. Not usable: no honest training is possible.
    """
    reasons = [*_annotation_reasons(files, split_state, leakage)]
    if reasons:
        return Verdict(
            "not usable",
            "Not usable as it is: the annotations do not allow an honest training.",
            tuple(reasons),
            ("Mend what stands below in the annotation files, or fetch them again.", "Then check the data once more."),
        )
    cautions = (*_unlike_published(files), *_leaking(leakage))
    if clips["there"] == 0:
        return Verdict(
            "annotations only",
            f"The annotations {'are good' if not cautions else 'can be read'}, but not one of their "
            f"{clips['utterances']:,} clips is there: nothing can be trained on yet.",
            ("No clip was found under the names that the annotations give.", *cautions),
            (
                "Put the clips (dia1utt1.mp4, …) into the folders train and test beside the annotations.",
                "Or cut them from episodes that you own (kedro run --pipelines=cut_clips), or give MELD's own folders "
                "with --params meld_dir=…; README.md says how.",
            ),
        )
    return _judge_clips(clips, lost_emotions, (*_nothing_to_test_on(clips), *_wrong_clips(clips), *cautions))


def _judge_clips(clips: dict[str, Any], lost: list[str], cautions: tuple[str, ...]) -> Verdict:
    total, left_out = clips["utterances"], clips["left_out"]
    train = "kedro run --pipelines=exp4"
    as_here = "(with --env and --params as given to this check)"
    if not left_out:
        whole = f"all {total:,} clips are there and decode, pictures and sound"
        return Verdict(
            "usable" if cautions else "good",
            f"Usable with care: {whole}, but the scores may mislead." if cautions else f"Good: {whole}.",
            cautions,
            (f"Train: {train} {as_here}.",),
        )
    few = clips["usable"] < FEWEST_USABLE * total
    if few or lost:
        return Verdict(
            "not usable",
            f"Not usable as it is: {left_out:,} of {total:,} utterances have no clip that can be used whole.",
            (
                *([f"Only {clips['usable']:,} utterances are left: another corpus than was annotated."] if few else []),
                *([f"No training utterance is left of: {', '.join(lost)}."] if lost else []),
                *cautions,
            ),
            ("Bring the clips that are named below: most often a download or an archive is incomplete.",),
        )
    return Verdict(
        "usable",
        f"Usable with {left_out:,} of {total:,} utterances left out: their clips are missing or damaged.",
        cautions,
        (
            "Mend or fetch again the clips that are named below; clips already checked are not decoded again.",
            f"Or train without them: {train} --params data.clips.on_bad_clip=drop {as_here}.",
            f"Or keep the {clips['lack_one']:,} that lack only their pictures or only their sound, with "
            f"data.clips.on_bad_clip=blank.",
        ),
    )


def _annotation_reasons(files: dict[str, Any], split_state: dict[str, Any], leakage: dict[str, Any]) -> list[str]:
    train = files["train"]
    reasons = []
    if not train["utterances"]:
        reasons.append("There is no train file, so there is nothing to train on.")
    elif unlabelled := train["utterances"] - train["labelled_utterances"]:
        reasons.append(f"{unlabelled:,} of {train['utterances']:,} utterances of the train file have no emotion.")
    if shared := leakage["between_files"]["conversations_in_both"]:
        reasons.append(
            f"{shared:,} conversations stand in the train and in the test file: what is trained on would be tested on."
        )
    if train["labelled_utterances"] and split_state["problem"]:
        reasons.append(f"It cannot be split as the parameters ask. {split_state['problem']}")
    return reasons


def _nothing_to_test_on(clips: dict[str, Any]) -> list[str]:
    if clips["official_test"] == 0 or clips["official_test_usable"]:
        return []
    return [
        f"Not one of the official test's {clips['official_test']:,} labelled utterances has a clip that can be used, "
        "so nothing would be scored: bring its clips, or take the test file out of the folder, and a part of the train "
        "file is held out instead."
    ]


def _wrong_clips(clips: dict[str, Any]) -> list[str]:
    return [
        f"Of {count:,} of the {clips['there']:,} clips it is said: {KINDS[kind].words}. {KINDS[kind].advice}"
        for kind, count in clips["perhaps_wrong"].items()
        if count > SUSPICIOUS_SHARE * clips["there"]
    ]


def _unlike_published(files: dict[str, Any]) -> list[str]:
    return [
        f"{facts['file']} is not quite the published {facts['published_as']}: {', '.join(facts['differs_in'])}."
        for facts in files.values()
        if facts["differs_in"]
    ]


def _leaking(leakage: dict[str, Any]) -> list[str]:
    return [
        f"The split {name.replace('_', ' ')} shares {probe['conversations_on_both_sides']:,} conversations with "
        "training, so its scores mislead: set data.split.unit=conversation."
        for name, probe in leakage["splits"].items()
        if probe["conversations_on_both_sides"]
    ]
