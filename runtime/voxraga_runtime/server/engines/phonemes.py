"""Phonemes given in a sentence (see base.PHONEMES_BEGIN) into tokens, for coqui's models that speak espeak's."""

import re
from typing import Any

from TTS.tts.utils.languages import normalize_language

from voxraga_runtime.server.engines.base import PHONEMES_BEGIN, PHONEMES_END

IPA = frozenset({"espeak", "gruut"})  # the phonemizers that write it
MARKED = re.compile(f"{PHONEMES_BEGIN}(.*?){PHONEMES_END}")


def phonemes_of(tokenizer: Any) -> str:
    """The phonemes' symbols that a model has; "" where it takes letters, or a phonemizer that doesn't write IPA."""
    if tokenizer.phonemizer is None or tokenizer.phonemizer.name() not in IPA:
        return ""
    characters = tokenizer.characters
    special = {characters.pad, characters.bos, characters.eos, characters.blank, *characters.punctuations}
    return "".join(sorted(symbol for symbol in characters.vocab if len(symbol) == 1 and symbol not in special))


def text_to_ids(tokenizer: Any, sentence: str, language: str) -> list[int]:
    """As TTSTokenizer.text_to_ids, but what is marked as phonemes is taken as it is."""
    parts = MARKED.split(sentence)
    if len(parts) == 1:
        return list(tokenizer.text_to_ids(sentence, language=language))
    text = "".join(part if i % 2 else _phonemized(tokenizer, part, language) for i, part in enumerate(parts))
    ids: list[int] = tokenizer.encode(text)
    if tokenizer.add_blank:
        ids = tokenizer.intersperse_blank_char(ids)
    return tokenizer.pad_with_bos_eos(ids) if tokenizer.use_eos_bos else ids


def _phonemized(tokenizer: Any, text: str, language: str) -> str:
    """The text between two marks; spaces at its ends are kept, which the phonemizer would take away."""
    if not any(c.isalnum() for c in text):
        return text
    before, after = (" " if edge.isspace() else "" for edge in (text[0], text[-1]))
    if tokenizer.text_cleaner is not None:
        text = tokenizer.text_cleaner(text, lang=normalize_language(language))
    return f"{before}{tokenizer.phonemizer.phonemize(text, separator='', language=language).strip()}{after}"
