"""What the bench has spoken: no text twice, since servers keep answers, and tokens of sentences."""

import random
from collections.abc import Iterator, Sequence

SENTENCES = (
    "Good morning, {who}.",
    "Your order is on its way, {who}.",
    "The train to the coast leaves in five minutes, and {who} still has no ticket.",
    "Please hold the line; {who} will be with you in a moment.",
    "We found {what} behind the old library, under a heap of wet leaves.",
    "Nobody had told {who} that the museum is closed on Mondays.",
    "Turn left at the bakery, walk past {what}, and you will see the station.",
    "It rained all night, but by noon the streets were dry again, and {who} went out for a walk.",
    "Can you bring {what} to the meeting?",
    "{who} called twice this afternoon, and left no message.",
    "The doctor says that {who} may go home tomorrow.",
    "There is {what} in the kitchen.",
    "When the lights went out, {who} counted the steps to the door, one after the other, and waited there.",
    "Your appointment with {who} has been moved to Thursday at half past ten.",
    "Somewhere in the attic there must be {what}, wrapped in a blue cloth.",
    "The river rises every spring, and every spring {who} carries the boats up the hill.",
    "I would rather have {what} than another week of holidays.",
    "Dinner is ready, {who}!",
    "Two of the three bridges are closed this weekend; take the ferry, or ask {who} for a lift.",
    "The second chapter begins with {what}, and ends with a letter that nobody answers.",
    "Would you like to hear the message from {who} again?",
    "They sailed for nine days before {who} saw the first gulls, far out over the grey water.",
    "The key fits neither the gate nor {what}.",
    "Tomorrow will be mostly sunny, with a light wind from the west, says {who}.",
    "Thank you for your patience, {who}.",
    "In the middle of the square stands {what}, which the town was given by a grateful stranger.",
    "If the alarm rings, leave the building by the nearest stairs and wait for {who} outside.",
    "You have four new messages, and the last one is from {who}.",
    "The old clockmaker looked at {what} for a long time, and then he shook his head.",
    "It takes patience to learn an instrument, and {who} has plenty of it.",
    "Everything that we know about the island comes from the diary of {who}, who lived there alone for a year.",
    "Do not put {what} into the oven.",
    "The shop opens at eight, but {who} is always there by seven.",
    "On the way back they stopped at a small harbour and bought {what} from a fisherman.",
    "Whoever wins tonight will play against {who} in the final.",
    "The battery is almost empty; please connect {what}.",
    "For once the bus was early, so {who} missed it.",
    "Among the papers there was a drawing of {what}, carefully coloured and signed on the back.",
    "Both answers are correct, although {who} prefers the shorter one.",
    "That is all for today; {who} will be back with the news at six.",
)
"""40 sentences of 20 to 120 characters: what telephones, assistants and books say."""

WHO = tuple(
    f"{first} {last}"
    for first in ("Anna", "Martin", "Clara", "Oliver", "Helen", "Victor", "Rosa", "Simon", "Laura", "Peter")
    for last in ("Hill", "Baker", "Stone", "Fisher", "Wood", "Carter", "Lake", "Turner", "Marsh", "Weaver")
)
WHAT = tuple(
    f"a {quality} {thing}"
    for quality in ("small", "broken", "golden", "heavy", "rusty", "painted", "wooden", "silver", "dusty", "narrow")
    for thing in ("lantern", "piano", "ladder", "suitcase", "mirror", "bicycle", "kettle", "compass", "clock", "globe")
)
"""As many as there are names: 100 times 40 sentences come before one comes again."""


def own() -> Iterator[str]:
    """The sentences in their order, so that runs are alike, each time with another name or thing, in no order."""
    while True:
        for who, what in zip(_shuffled(WHO), _shuffled(WHAT), strict=True):
            for sentence in SENTENCES:
                yield sentence.format(who=who, what=what)


def _shuffled(words: Sequence[str]) -> list[str]:
    return random.sample(words, len(words))
