"""The dialogues of the demo: conversations, how each emotion looks and sounds, and records for ECF's JSON files."""

from dataclasses import astuple, dataclass

import numpy as np

from trimood.emotions import EMOTIONS
from trimood.synthetic.faces import Expression, Look, random_look
from trimood.synthetic.voices import Prosody, random_pitch_hz
from trimood.synthetic.words import say

# Fear looks much like surprise, disgust much like anger.
EXPRESSIONS = {
    "surprise": Expression(1.0, -0.1, 0.9, 0.0, 0.9, 0.0),
    "fear": Expression(0.9, -0.4, 0.9, -0.2, 0.7, 0.4),
    "sadness": Expression(0.1, -0.9, -0.5, -0.9, -0.7, -0.6),
    "neutral": Expression(0.0, 0.0, 0.0, 0.0, -0.4, 0.0),
    "joy": Expression(0.3, 0.0, -0.1, 1.0, 0.5, 0.5),
    "anger": Expression(-0.8, 0.9, 0.3, -0.5, 0.2, 0.5),
    "disgust": Expression(-0.7, 0.8, 0.0, -0.6, -0.1, 0.1),
}
# Joy sounds much like anger, sadness much like neutral.
PROSODIES = {
    "surprise": Prosody(0.6, 0.3, 0.1, -0.6, -0.5, 1.0),
    "fear": Prosody(0.6, -0.4, 0.7, 1.0, 0.4, 0.2),
    "sadness": Prosody(-0.2, -0.3, -0.3, -0.6, -0.3, -0.3),
    "neutral": Prosody(0.0, 0.0, 0.0, -0.8, -0.7, -0.2),
    "joy": Prosody(0.7, 0.7, 0.6, -0.5, -0.7, 0.2),
    "anger": Prosody(0.6, 0.9, 0.6, -0.7, -0.3, -0.1),
    "disgust": Prosody(-0.8, 0.1, -0.6, -0.3, 0.9, -0.6),
}
LOOKS_LIKE = {"surprise": "fear", "fear": "surprise", "anger": "disgust", "disgust": "anger"}
SOUNDS_LIKE = {"joy": "anger", "anger": "joy", "sadness": "neutral", "neutral": "sadness"}

# How often a face or a voice shows its own emotion, a similar one, or none; otherwise it shows a random one.
SHOWS_OWN, SHOWS_ALIKE, SHOWS_NOTHING = 0.60, 0.22, 0.10
SPREAD = 0.22  # standard deviation around the emotion's type, in Expression's and Prosody's units

NAMES = ("Ada", "Ben", "Cleo", "Dov", "Edda", "Finn", "Gita", "Hugo")
# Shares in ECF 2.0's training file (13,619 utterances), in the order of EMOTIONS.
ECF_SHARES = (0.135, 0.027, 0.084, 0.436, 0.169, 0.119, 0.030)
LEAST_PER_CLASS = 8  # fewer utterances of a class could not be split into training, validation and test
LINGERS = 3.0  # factor by which the previous utterance's emotion is more likely than by chance
LONGEST = 33  # utterances, as in ECF's training file
# Conversations. A test part as small as ECF's share of a fifth could not tell the experiments apart.
IN_TRAINING, IN_TEST = 48, 44
SECONDS_PER_WORD = 0.17


@dataclass(frozen=True)
class Speaker:
    """A speaker's name, look and usual pitch."""

    name: str
    look: Look
    usual_pitch_hz: float


@dataclass(frozen=True)
class Line:
    """One utterance: who says what and how; `seed` determines its clip."""

    conversation_id: int
    utterance_id: int
    text: str
    speaker: Speaker
    emotion: str
    expression: Expression
    prosody: Prosody
    duration_seconds: float
    seed: tuple[int, ...]

    @property
    def clip_name(self) -> str:
        """ECF's name for the clip."""
        return f"dia{self.conversation_id}utt{self.utterance_id}.mp4"


Conversation = list[Line]


def write_dialogues(
    seed: int, train_count: int = IN_TRAINING, test_count: int = IN_TEST
) -> tuple[list[Conversation], list[Conversation]]:
    """The training and the test conversations; as in ECF, training ids are shuffled and test ids continue with gaps."""
    rng = np.random.default_rng([seed, 0])
    speakers = [Speaker(name, random_look(rng), random_pitch_hz(rng)) for name in NAMES]
    train_ids = rng.permutation(np.arange(1, train_count + 1))
    test_ids = train_count + np.cumsum(rng.integers(1, 4, size=test_count))
    train_sizes, test_sizes = _draw_sizes(train_count, rng), _draw_sizes(test_count, rng)
    train_sizes[int(rng.integers(1, train_count))] = LONGEST
    train, test = (
        [
            _write_conversation(int(number), emotions, speakers, seed)
            for number, emotions in zip(ids, _deal_emotions(sizes, rng), strict=True)
        ]
        for ids, sizes in ((train_ids, train_sizes), (test_ids, test_sizes))
    )
    return train, test


def train_record(conversation: Conversation) -> dict[str, object]:
    """The conversation as in ECF's Subtask_2_train.json."""
    return {
        "conversation_ID": conversation[0].conversation_id,
        "conversation": [
            {
                "utterance_ID": utterance.utterance_id,
                "text": utterance.text,
                "speaker": utterance.speaker.name,
                "emotion": utterance.emotion,
                "video_name": utterance.clip_name,
            }
            for utterance in conversation
        ],
        "emotion-cause_pairs": _name_causes(conversation),
    }


def official_test_record(conversation: Conversation) -> dict[str, object]:
    """The conversation as in ECF's Subtask_2_test.json, where each utterance also has a made-up span in an episode."""
    record = train_record(conversation)
    number = conversation[0].conversation_id
    start = 60.0 + 37.3 * (number % 30)
    episode = f"S{1 + number // 240:02d}E{1 + number // 10 % 24:02d}"
    utterances = []
    for utterance, plain in zip(conversation, record["conversation"], strict=True):  # type: ignore[call-overload]
        end = start + utterance.duration_seconds
        name = plain.pop("video_name")
        utterances.append({**plain, "video_source": [episode, _clock(start), _clock(end)], "video_name": name})
        start = end
    return {**record, "conversation": utterances}


def _draw_sizes(conversation_count: int, rng: np.random.Generator) -> list[int]:
    """Utterances per conversation: mostly few, sometimes many; one conversation has a single utterance."""
    sizes = [int(size) for size in np.clip(2 + rng.gamma(1.6, 3.3, size=conversation_count), 2, 24)]
    sizes[0] = 1
    return sizes


def _deal_emotions(sizes: list[int], rng: np.random.Generator) -> list[list[str]]:
    """Emotions for conversations of these sizes, in ECF's shares; an emotion often repeats."""
    total = sum(sizes)
    least = min(LEAST_PER_CLASS, total // 14)
    left = np.array([max(least, round(share * total)) for share in ECF_SHARES])
    left[EMOTIONS.index("neutral")] += total - left.sum()
    conversations = []
    for size in sizes:
        emotions: list[str] = []
        for _ in range(size):
            weights = left * np.array([LINGERS if emotions[-1:] == [emotion] else 1.0 for emotion in EMOTIONS])
            drawn = int(rng.choice(len(EMOTIONS), p=weights / weights.sum()))
            left[drawn] -= 1
            emotions.append(EMOTIONS[drawn])
        conversations.append(emotions)
    order = rng.permutation(len(conversations))
    return [conversations[place] for place in order]


def _write_conversation(number: int, emotions: list[str], speakers: list[Speaker], seed: int) -> Conversation:
    rng = np.random.default_rng([seed, 1, number])
    present = rng.choice(len(speakers), size=int(rng.integers(2, 5)), replace=False)
    conversation = []
    for place, emotion in enumerate(emotions, start=1):
        speaker, text = speakers[int(rng.choice(present))], say(emotion, rng)
        duration = float(np.clip(SECONDS_PER_WORD * len(text.split()) + rng.uniform(0.2, 0.8), 1.0, 3.0))
        face, voice = express(emotion, rng), intone(emotion, rng)
        clip_seed = (seed, 2, number, place)
        conversation.append(Line(number, place, text, speaker, emotion, face, voice, duration, clip_seed))
    return conversation


def express(emotion: str, rng: np.random.Generator) -> Expression:
    """A facial expression for this emotion."""
    return Expression(*_around(EXPRESSIONS[_shown(emotion, LOOKS_LIKE, rng)], rng))


def intone(emotion: str, rng: np.random.Generator) -> Prosody:
    """A way of speaking for this emotion."""
    return Prosody(*_around(PROSODIES[_shown(emotion, SOUNDS_LIKE, rng)], rng))


def _shown(emotion: str, alike: dict[str, str], rng: np.random.Generator) -> str:
    draw = rng.random()
    if draw < SHOWS_OWN:
        return emotion
    if draw < SHOWS_OWN + SHOWS_ALIKE:
        return alike.get(emotion, emotion)
    if draw < SHOWS_OWN + SHOWS_ALIKE + SHOWS_NOTHING:
        return "neutral"
    return str(rng.choice(EMOTIONS))


def _around(kind: Expression | Prosody, rng: np.random.Generator) -> list[float]:
    values = np.array(astuple(kind))
    return np.clip(rng.uniform(0.7, 1.1) * values + rng.normal(0, SPREAD, len(values)), -1, 1).tolist()


def _name_causes(conversation: Conversation) -> list[list[str]]:
    """ECF's pairs: each emotion is caused by its own utterance, and often by the one before."""
    pairs = []
    for utterance in conversation:
        if utterance.emotion == "neutral":
            continue
        name = f"{utterance.utterance_id}_{utterance.emotion}"
        if utterance.utterance_id > 1 and len(utterance.text) % 2:
            pairs.append([name, str(utterance.utterance_id - 1)])
        pairs.append([name, str(utterance.utterance_id)])
    return pairs


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds * 1000), 3_600_000)
    minutes, milliseconds = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
