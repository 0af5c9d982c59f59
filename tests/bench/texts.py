"""What both servers are asked to say, as sentences that both split in the same way."""

SENTENCES = (
    "The boat left at seven in the morning.",
    "Nobody had heard the bell.",
    "A pot of tea helps to pass the evening.",
    "Rice is often served in round bowls.",
    "We walked along the river.",
    "The juice of lemons makes fine punch.",
    "Her letter came on a Tuesday.",
    "Snow covered the narrow road.",
    "Kick the ball straight and follow through.",
    "All the lamps were lit.",
)
TEN = SENTENCES
LONG = (
    (
        "The old keeper of the northern light climbed the narrow stairs with a lamp in one hand "
        "and a letter in the other while the gulls slept under the roof."
    ),
)


def spoken(sentences: tuple[str, ...]) -> str:
    """The text of these sentences."""
    return " ".join(sentences)


def load(requests: int) -> list[tuple[str, ...]]:
    """That many single sentences, as a crowd of clients would send them."""
    return [(SENTENCES[i % len(SENTENCES)],) for i in range(requests)]
