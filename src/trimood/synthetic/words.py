"""The sentences of the demo: templates with slots, tokenised as ECF's text is (" ? !", "do not")."""

import numpy as np

SLOTS = {
    "person": ["Ada", "Ben", "Cleo", "Finn", "my sister", "the landlord", "your boss", "the new neighbour"],
    "thing": ["sandwich", "letter", "sofa", "ring", "coat", "turkey", "guitar", "phone", "sweater", "cake"],
    "place": ["kitchen", "hallway", "coffee house", "office", "museum", "airport", "café", "park"],
    "time": ["today", "last night", "this morning", "on Monday", "right now", "after dinner"],
}

# Fits any emotion: the words alone often do not show the emotion.
PLAIN = [
    "What is this ?",
    "Okay .",
    "I am in the {place} .",
    "So , {person} called {time} .",
    "Did you see the {thing} ?",
    "I put the {thing} in the {place} .",
    "You know what ? {person} is here .",
    "Well , I was with {person} {time} .",
    "They call it “ the {thing} ” .",
    "Where is {person} ?",
    "I have to go to the {place} {time} .",
    "We are talking about the {thing} .",
    "Hey , it is {person} .",
    "That is what {person} said .",
    "Yeah , I know .",
    "Let us go to the {place} .",
    "No , it is the other {thing} .",
    "{person} wants the {thing} back {time} .",
]

OWN = {
    "surprise": [
        "What ? !",
        "Wait , {person} did what ? !",
        "I had no idea about the {thing} !",
        "Since when is {person} in the {place} ? !",
        "You are kidding , right ? A {thing} ?",
        "Whoa ! Where did that {thing} come from ?",
        "Seriously ? {person} ? In the {place} ?",
        "I did not expect a {thing} {time} !",
    ],
    "fear": [
        "Please do not go in the {place} , I heard a noise .",
        "There is somebody in the {place} , I am scared .",
        "Oh no , {person} is going to kill me .",
        "I am so nervous about {person} .",
        "Stop the {thing} , we could get hurt !",
        "I am afraid of that {thing} .",
        "Hide the {thing} , {person} is coming !",
        "I am terrified , it is dark in the {place} .",
    ],
    "sadness": [
        "I miss {person} so much .",
        "I lost my {thing} , it is all my fault .",
        "I am sorry , I just feel so alone .",
        "{person} broke up with me {time} .",
        "I guess nobody wants my {thing} .",
        "I cried in the {place} {time} .",
        "It is over . {person} is not coming back .",
        "I am really sorry about your {thing} .",
    ],
    "joy": [
        "This is the best {thing} ever !",
        "I love you , {person} !",
        "Congratulations ! I am so happy for {person} !",
        "Thank you , the {thing} is beautiful !",
        "Yes ! We won the {thing} !",
        "That is great , let us celebrate {time} !",
        "It is so much fun in the {place} , hooray !",
        "What a wonderful {thing} , I am so glad !",
    ],
    "anger": [
        "Get out of my {place} !",
        "How dare you take my {thing} !",
        "I told you , do not touch the {thing} !",
        "I am so mad at {person} !",
        "Shut up about the {thing} !",
        "You lied to me , {person} !",
        "That is it , I have had enough of {person} !",
        "It is not fair , give me back my {thing} !",
    ],
    "disgust": [
        "Eww , who licked the {thing} ?",
        "That {thing} smells horrible .",
        "Ugh , there is hair on the {thing} .",
        "This {thing} tastes like feet .",
        "Gross ! {person} sneezed on the {thing} .",
        "Yuck , do not put that in your mouth .",
        "That is the most disgusting {thing} in the {place} .",
        "Ugh , the {place} is filthy .",
    ],
}

# Fits two emotions: only the face or the voice shows which.
SHARED = {
    ("joy", "surprise"): [
        "Oh my God !",
        "I can not believe it , a {thing} !",
        "Wow , look at that {thing} !",
        "You got me a {thing} ? !",
    ],
    ("fear", "sadness"): [
        "I do not know what to do .",
        "What if {person} never comes back ?",
        "Oh no , not the {thing} .",
        "I can not lose {person} .",
    ],
    ("anger", "disgust"): [
        "Get that {thing} away from me !",
        "I hate that {thing} .",
        "I can not stand {person} .",
        "What is wrong with {person} ?",
    ],
}

# How often the words show the speaker's emotion, fit two emotions, or fit any; otherwise they show a random one.
SHOWS_OWN, SHOWS_SHARED, SHOWS_PLAIN = 0.50, 0.15, 0.30
NEUTRAL_IS_PLAIN = 0.92


def templates() -> list[str]:
    """Every template sentence once, in a fixed order."""
    emotional = [sentence for group in (*OWN.values(), *SHARED.values()) for sentence in group]
    return [*PLAIN, *emotional]


def fill_in(template: str, rng: np.random.Generator) -> str:
    """The template with a random filler in each slot, capitalised at its start."""
    sentence = template
    for slot, fillers in SLOTS.items():
        while "{" + slot + "}" in sentence:
            sentence = sentence.replace("{" + slot + "}", str(rng.choice(fillers)), 1)
    return sentence[0].upper() + sentence[1:]


def say(emotion: str, rng: np.random.Generator) -> str:
    """A sentence for this emotion; about half of them show it."""
    return fill_in(str(rng.choice(_choose_templates(emotion, rng))), rng)


def _choose_templates(emotion: str, rng: np.random.Generator) -> list[str]:
    draw = rng.random()
    if emotion == "neutral":
        return PLAIN if draw < NEUTRAL_IS_PLAIN else OWN[str(rng.choice(list(OWN)))]
    if draw < SHOWS_OWN:
        return OWN[emotion]
    if draw < SHOWS_OWN + SHOWS_SHARED:
        return next(sentences for pair, sentences in SHARED.items() if emotion in pair)
    if draw < SHOWS_OWN + SHOWS_SHARED + SHOWS_PLAIN:
        return PLAIN
    return OWN[str(rng.choice(list(OWN)))]
