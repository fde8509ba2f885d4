"""What a text tower reads: an utterance's words, and around them its conversation, as token ids."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from transformers import CLIPTokenizer, PreTrainedTokenizerBase

from trimood.config.experiment_settings import ContextParams
from trimood.model.checkpoints import LONGEST_TEXT_CHARACTERS, TOKEN_COUNT, normalised, tokenize
from trimood.model.config import EncoderConfig
from trimood.model.encoders import WIDTH_STEP

log = logging.getLogger(__name__)

ORDER = ("conversation_id", "utterance_id")
"""The columns that say which conversation an utterance is of, and its place in it."""

CLIP_SEPARATOR = "|"
"""Between utterances for CLIP's tokenizer, which has no separator of its own; LanguageBind reads a text at its first
end token, so the end token cannot separate."""


class ContextError(Exception):
    """A table of utterances does not say what the context of an utterance is."""


@dataclass(frozen=True)
class Around:
    """The rows before an utterance, the oldest first, and after it, of the same conversation."""

    before: tuple[int, ...]
    after: tuple[int, ...]


def rows_around(table: pd.DataFrame, context: ContextParams) -> list[Around]:
    """Finds the context of each row among the rows of the same table, so that nothing crosses a split.

    An utterance without words is nobody's context, and one without a conversation has none. Raises ContextError if the
    table has no order, or no speakers although they are read.
    """
    needed = [*(ORDER if context.previous or context.next else ()), *(["speaker"] if context.speakers else [])]
    if missing := [name for name in needed if name not in table]:
        raise ContextError(
            f"context: {context} needs the columns {', '.join(needed)}, and the table of utterances has no "
            f"{', '.join(missing)}. Prepare the data again: kedro run --pipelines=preprocessing, or train without "
            "context."
        )
    found = [Around((), ())] * len(table)
    if not (context.previous or context.next):
        return found
    rows = table[list(ORDER)].reset_index(drop=True)
    rows = rows[(table["text"].fillna("").str.strip() != "").to_numpy()]
    rows = rows[rows["conversation_id"].notna() & (rows["conversation_id"].astype(str) != "")]
    for _, conversation in rows.groupby("conversation_id", sort=False):
        places = conversation["utterance_id"].sort_values(kind="stable").index.tolist()
        for number, row in enumerate(places):
            before = places[max(0, number - context.previous) : number]
            found[row] = Around(tuple(before), tuple(places[number + 1 : number + 1 + context.next]))
    return found


@dataclass(frozen=True)
class TextReader:
    """Turns the words of a table into token ids, for LanguageBind's text tower or for an encoder (`encoder`)."""

    tokenizer: PreTrainedTokenizerBase | CLIPTokenizer
    context: ContextParams
    encoder: EncoderConfig | None = None

    @property
    def padding(self) -> int | None:
        """The id that fills a text of an encoder; None for LanguageBind, whose texts have the same length."""
        return self.encoder.padding if self.encoder else None

    @property
    def most_tokens(self) -> int:
        """The number of tokens of the longest text with its special tokens."""
        return self.encoder.most_tokens if self.encoder else TOKEN_COUNT

    @property
    def _is_between(self) -> bool:
        """Whether there are separators on both sides of an utterance, even without context there."""
        sides = (self.context.previous > 0) + (self.context.next > 0)
        return sides == 2 or (sides == 1 and self.encoder is not None)  # an encoder pools what is between

    def around_alone(self) -> tuple[list[int], list[int]]:
        """The ids before and after those of an utterance that is read without context."""
        start, end = self._edges()
        mark = 2 * self._separator() if self._is_between else []
        return start + mark, mark + end

    def ids(self, table: pd.DataFrame) -> Tensor:
        """Token ids of each row, [utterance, token] int64; logs how many texts or contexts are cut.

        LanguageBind's have 77 tokens; an encoder's as many as the longest, in steps of `WIDTH_STEP`.
        """
        texts = table["text"].fillna("").tolist()
        if self.context.is_none and self.encoder is None:
            assert isinstance(self.tokenizer, CLIPTokenizer)  # noqa: S101 - for mypy
            ids = tokenize(self.tokenizer, texts)
            self._log_cut(int((ids[:, -2] != ids[:, -1]).sum()), len(texts), TOKEN_COUNT)
            return ids
        around = rows_around(table, self.context)
        speakers = table["speaker"].fillna("").tolist() if self.context.speakers else []
        if nameless := speakers.count(""):
            log.warning("%d of %d utterances have no speaker, whom the model reads", nameless, len(texts))
        own = self._lines(texts, speakers)
        start, end = self._edges()
        separator = self._separator()
        room = self.most_tokens - len(start) - len(end)
        rows: list[list[int]] = []
        fits: list[bool] = []
        for number, places in enumerate(around):
            before, after = ([own[row] for row in of] for of in (places.before, places.after))
            tokens, is_whole = fitted(own[number], before, after, separator, room, self._is_between)
            rows.append([*start, *tokens, *end])
            fits.append(is_whole)
        self._log_cut(sum(len(ids) > room for ids in own), len(own), self.most_tokens)
        if self.context.previous or self.context.next:
            read = sum(bool(places.before or places.after) for places in around)
            if own and not read:
                log.warning("no utterance has context, with which (%s) the model was trained", self.context)
            words = "%d of %d utterances have context; of %d of them, not all of it fits into %d tokens"
            log.info(words, read, len(own), fits.count(False), self.most_tokens)
        return self._padded(rows)

    def _lines(self, texts: Sequence[str], speakers: Sequence[str]) -> list[list[int]]:
        """The ids of each utterance without special tokens, as "Ross: …" if there are speakers."""
        lines = [text[:LONGEST_TEXT_CHARACTERS] for text in texts]
        if speakers:
            named = zip(speakers, lines, strict=True)
            lines = [f"{speaker}: {line}" if speaker and line.strip() else line for speaker, line in named]
        if self.encoder is None:
            lines = [normalised(line) for line in lines]
        return list(self._ids(lines)) if lines else []

    def _ids(self, texts: list[str], special: bool = False) -> list[list[int]]:
        # Not `truncation`: the tokens that are left out are chosen here. `verbose` warns of long texts.
        found: Any = self.tokenizer(texts, add_special_tokens=special, verbose=False)
        return list(found["input_ids"])

    def _edges(self) -> tuple[list[int], list[int]]:
        """The special tokens that the tokenizer puts before and after a text."""
        (plain,), (whole,) = self._ids(["a"]), self._ids(["a"], special=True)
        start = next(at for at in range(len(whole)) if whole[at : at + len(plain)] == plain)
        return whole[:start], whole[start + len(plain) :]

    def _separator(self) -> list[int]:
        if self.encoder is None:
            return self._ids([CLIP_SEPARATOR])[0]
        token = self.encoder.separator
        return self._ids([CLIP_SEPARATOR])[0] if token is None else [token]

    def _padded(self, rows: list[list[int]]) -> Tensor:
        if self.encoder is None:
            width, padding = TOKEN_COUNT, self.tokenizer.pad_token_id
        else:
            longest = max(map(len, rows), default=1)
            width, padding = min(-(-longest // WIDTH_STEP) * WIDTH_STEP, self.encoder.most_tokens), self.encoder.padding
        return torch.tensor([row + [padding] * (width - len(row)) for row in rows], dtype=torch.int64)

    @staticmethod
    def _log_cut(cut: int, total: int, most: int) -> None:
        if cut:
            log.warning("%d of %d utterances are cut to %d tokens", cut, total, most)


def fitted(
    own: list[int],
    before: list[list[int]],
    after: list[list[int]],
    separator: list[int],
    room: int,
    is_between: bool = False,
) -> tuple[list[int], bool]:
    """The utterance's ids between its context's, in at most `room` tokens, and whether all of the context is there.

    A separator is between two utterances, two are beside the utterance itself, as in EmoBERTa
    (https://arxiv.org/abs/2108.12009): they show which one it is. With `is_between`, they are there on a side without
    context, too: else the first of a conversation could look like the last. Of too much, the oldest utterance before
    goes first, then the last one after; the utterance itself is cut only if it does not fit alone.
    """
    kept_before, kept_after = list(before), list(after)
    mark = [*separator, *separator]
    while kept_before or kept_after or is_between:
        first = [*_joined(kept_before, separator), *mark] if kept_before or is_between else []
        last = [*mark, *_joined(kept_after, separator)] if kept_after or is_between else []
        if len(first) + len(own) + len(last) <= room:
            return [*first, *own, *last], len(kept_before) + len(kept_after) == len(before) + len(after)
        if not (kept_before or kept_after):
            break
        (kept_before or kept_after).pop(0 if kept_before else -1)
    return own[:room], not (before or after)


def _joined(lines: Sequence[list[int]], separator: list[int]) -> list[int]:
    return [token for number, line in enumerate(lines) for token in ([*separator, *line] if number else line)]
