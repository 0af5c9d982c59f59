"""Text as it is written (by a language model, say) into sentences as soon as each is over."""

from voxraga_runtime.common.errors import InvalidRequest
from voxraga_runtime.server.text import complete_sentences, split_sentences


class SentenceBuffer:
    """What was written and not spoken yet. `add()` and `flush()` give the sentences that can be spoken now."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = ""

    def add(self, text: str) -> list[str]:
        """Raises InvalidRequest where more is written than one request may hold."""
        if len(text) > self._limit:
            message = f"text has {len(text)} characters; at most {self._limit} are allowed"
            raise InvalidRequest(message, param="text", code="string_above_max_length")
        sentences, self._rest = complete_sentences(self._rest + text)
        return sentences

    def flush(self) -> list[str]:
        """The rest, over or not."""
        rest, self._rest = self._rest, ""
        return split_sentences(rest)
