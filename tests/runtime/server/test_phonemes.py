"""Phonemes in a sentence reach the model as they are, and the words around them as ever."""

from pathlib import Path

import pytest

from tests.runtime.server.test_coqui import loaded
from voxraga_runtime.server.engines.base import PHONEMES_BEGIN, PHONEMES_END
from voxraga_runtime.server.engines.coqui import CoquiEngine
from voxraga_runtime.server.engines.phonemes import text_to_ids

DEMO = Path(__file__).parents[3] / "runtime/voxraga_runtime/voices/demo"


@pytest.fixture(scope="module")
def engine() -> CoquiEngine:
    return loaded(DEMO)


@pytest.mark.parametrize("before", ["", "Say ", "Well, "])
@pytest.mark.parametrize("after", [".", ", please!", " (again)?"])
def test_as_espeak_would_have_it(engine: CoquiEngine, before: str, after: str) -> None:
    tokenizer = engine._model.tokenizer
    phonemes = tokenizer.phonemizer.phonemize("table", separator="")
    marked = text_to_ids(tokenizer, f"{before}{PHONEMES_BEGIN}{phonemes}{PHONEMES_END}{after}", "en-us")
    assert marked == text_to_ids(tokenizer, f"{before}table{after}", "en-us")


def test_which_symbols_there_are(engine: CoquiEngine, speedy_bundle: Path) -> None:
    assert set("təmɪʃŋˈː") <= set(engine.capabilities.phonemes)
    assert not set(".,!? ") & set(engine.capabilities.phonemes)
    assert loaded(speedy_bundle).capabilities.phonemes == ""  # it takes letters
