"""Texts become the tokens that LanguageBind's own tokenizer gives with ftfy (`make_reference.py` wrote them)."""

import hashlib
import json
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from support.shared_data import SHARED, needs_shared
from trimood.model import checkpoints
from trimood.synthetic.checkpoints import learn_vocabulary, write_tokenizer

REFERENCE = json.loads((Path(__file__).parent / "reference" / "token_ids.json").read_text(encoding="utf-8"))


@pytest.fixture
def clip(tmp_path: Path) -> CLIPTokenizer:
    """A tokenizer with the 256 bytes, each also as the end of a word, and no merges."""
    write_tokenizer(tmp_path, *learn_vocabulary([], 0))
    return checkpoints.tokenizer(tmp_path)


def untruncated(clip: CLIPTokenizer, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Ids up to the first end token."""
    monkeypatch.setattr(checkpoints, "TOKEN_COUNT", 512)
    ids = checkpoints.tokenize(clip, texts)
    return [row[: row.index(513) + 1] for row in ids.tolist()]


def test_typographic_marks_and_wrongly_decoded_characters_have_upstreams_tokens(
    clip: CLIPTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = REFERENCE["made"]
    assert dict(zip(made, untruncated(clip, list(made), monkeypatch), strict=True)) == made
    assert made["I’m here"] == made["I'm here"] == made["I\x92m here"] == made["Iâ€™m here"]


def test_the_reference_was_made_with_the_version_of_ftfy_that_upstream_pins() -> None:
    assert REFERENCE["versions"] == {"languagebind": "0.1.0", "transformers": "4.44.2", "ftfy": "6.1.1"}


def test_ascii_texts_have_the_tokens_that_they_had_without_ftfy(clip: CLIPTokenizer) -> None:
    texts = ["Oh , do not go ! ?", 'I \'m "here" - ok ; (42) & x < y', "What? It's <i>fine</i>...", "A B_c  d"]
    plain = clip(texts, max_length=77, padding="max_length", truncation=True, return_tensors="pt")["input_ids"]
    assert checkpoints.tokenize(clip, texts).equal(plain)


@needs_shared
@pytest.mark.slow
def test_every_published_text_of_ecf_has_upstreams_tokens(clip: CLIPTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted(((SHARED or Path()) / "reference" / "ecf2").glob("Subtask_*.json"))
    rows = [
        row for file in files for one in json.loads(file.read_text(encoding="utf-8")) for row in one["conversation"]
    ]
    texts = sorted({row["text"] for row in rows})
    assert len(texts) == REFERENCE["ecf2"]["texts"]
    ids = untruncated(clip, texts, monkeypatch)
    assert hashlib.sha256(json.dumps(ids).encode()).hexdigest() == REFERENCE["ecf2"]["sha256"]
    assert sum(one != other for one, other in zip(clip(texts)["input_ids"], ids, strict=True)) == 48
