"""The project speaks plain English: phrases that readers stopped at are gone."""

import json
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

AVOIDED = {  # an expression for whole words → what to write instead
    r"absent is:": "3 of 390 utterances have no audio",
    r"have nothing of": "lack every modality",
    r"all emotions are equally likely there": "their predictions are uniform",
    r"not trained alike": "training settings differ",
    r"need not be the experiments'": "may not be due to the experiment",
    r"needed is at least": "give at least one",
    r"and each once": "without repeats",
    r"made of what experiments have stored": "reads the results of finished experiments",
    r"a command of its own, given after": "run it as a separate command afterwards",
    r"as it comes": "by default",
    r"missing may be missing": "clips, sound and words are all optional",
    r"(a comma )?parts (nothing|no parameters)": "commas are read literally",
    r"stays? a word": "words such as No are read literally",
    r"(go|goes) before (it|them)": "takes precedence",
    r"refus(es|ing) keys that it does not know": "rejects unknown keys",
    r"by words for people": "with a readable message",
    r"have no room for": "show that",
    r"yours to say": "choose",
    r"shall become of": "choose what happens to",
    r"reckon(s|ed|ing)?": "compute",
    r"(stand|stands|stood) in(?! front| the way)": "is in",
    r"tells (nobody|what|which|of)": "reports",
    r"(can|could|will|to|must|may|no|second download will) mend": "fix",
    r"mended": "fixed",
    r"(cost|costs) only (itself|its|that|the)": "affects only",
    r"(cost|costs) (itself|no other|its clip|one clip)( alone| at most)?": "affects only",
    r"(hold|holds|held) (\w+ )?against": "compare with",
    r"strangers(?!')": "unmatched",
    r"modality worth": "modality ablation",
    r"(modality|modalities|voice|picture|sound) (is|are) worth": "what each modality contributes",
    r"oddit(y|ies)": "anomalies",
    r"tell_of": "log_exclusions",
    r"restore_planned": "load_for_plan",
    r"AFTERWARDS": "RUN_SEPARATELY",
    r"mlflow_store": "store",
}

AREAS = {
    "documents": [
        "*.md",
        "docs/**/*.md",
        ".github/**/*",
        "Makefile",
        "*.yml",
        ".pre-commit-config.yaml",
        "pyproject.toml",
    ],
    "configuration": ["conf/**/*.yml", "conf/**/*.md"],
    "source": ["src/**/*.py"],
    "notebooks and scripts": ["notebooks/*.ipynb", "benchmarks/*.py", "scripts/*.py"],
}


def prose(path: Path) -> str:
    """A file's words without line ends, so that a phrase is found across two lines of text or of comments."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    joined = re.sub(r"[\"']?\n\s*(?:#+ |[rf]?[\"'](?!\"\"))?", " ", text)
    return re.sub(r"\s+", " ", joined)


def avoided_in(text: str) -> list[str]:
    """Each avoided expression in the text, with its surroundings and what to write."""
    return [
        f"…{text[max(found.start() - 40, 0) : found.end() + 40]}… - write: {instead}"
        for expression, instead in AVOIDED.items()
        for found in re.finditer(rf"(?<!\w)(?:{expression})(?!\w)", text)
    ]


@pytest.mark.parametrize("area", AREAS)
def test_no_phrase_of_the_old_dialect_is_left(area: str) -> None:
    generated = PROJECT / "docs" / "reference"
    paths = sorted({path for pattern in AREAS[area] for path in PROJECT.glob(pattern) if path.is_file()})
    paths = [path for path in paths if generated not in path.parents]
    assert paths
    found = {str(path.relative_to(PROJECT)): avoided_in(prose(path)) for path in paths}
    lines = [f"{name}: {phrase}" for name, phrases in found.items() for phrase in phrases]
    assert not lines, f"{len(lines)} phrases in {len([name for name in found if found[name]])} files:\n" + "\n".join(
        lines
    )


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("its name stands in the header", True),
        ("the node `fail` (as it comes)", True),
        ("a clip that hangs costs\n    # only itself", True),
        ('raise ValueError("this is as it "\n        "comes")', True),
        ("held weights against lists", True),
        ("a line stands in front of it", False),
        ("it is worth the time, and the log tells where", False),
        ("recommended", False),
    ],
)
def test_phrases_are_found_across_lines_and_ordinary_words_are_not(tmp_path: Path, text: str, is_found: bool) -> None:
    path = tmp_path / "text.py"
    path.write_text(text, encoding="utf-8")
    assert bool(avoided_in(prose(path))) == is_found
