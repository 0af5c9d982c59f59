"""Names in the settings are checked against the model before the server is ready."""

from pathlib import Path
from typing import Any

import pytest

from tests.runtime.server.engine import ToneEngine
from voxraga_runtime.common.errors import InvalidRequest, StartupError
from voxraga_runtime.common.settings import load_settings
from voxraga_runtime.server.requests import OPENAI_VOICES, Ask, Catalogue
from voxraga_runtime.server.text import LONGEST


def catalogue(**settings: Any) -> Catalogue:
    return Catalogue(load_settings(model_name="narrator", model_path=Path("/store/models/x"), **settings), ToneEngine())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"default_voice": "carl"}, "VOXRAGA_DEFAULT_VOICE is 'carl'; the model has low, high"),
        ({"default_language": "xx"}, "VOXRAGA_DEFAULT_LANGUAGE is 'xx'; the model has en, de"),
        ({"voice_aliases": {"alloy": "carl"}}, "VOXRAGA_VOICE_ALIASES: alloy is 'carl'; the model has low, high"),
        (
            {"lexicon": {"Köln": "/kœln/"}},
            "VOXRAGA_LEXICON: 'Köln' is '/kœln/': this model speaks no phonemes; respell it in letters",
        ),
    ],
)
def test_names_the_model_lacks(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(StartupError) as caught:
        catalogue(**settings)
    assert (caught.value.reason, caught.value.message) == ("SettingsInvalid", told)


def test_defaults_of_the_settings_are_used() -> None:
    made = catalogue(default_voice="high", default_language="de", default_speed=1.5, default_format="opus")
    speech = made.speech(Ask("Hello.", "input"))
    assert (speech.utterance.voice, speech.utterance.language, speech.utterance.speed) == ("high", "de", 1.5)
    assert speech.format.name == "opus"
    assert made.voice("alloy") == "high"


def test_an_alias_of_the_spec_wins_over_openais_meaning() -> None:
    assert catalogue(voice_aliases={"alloy": "high"}).voice("alloy") == "high"


def test_openais_voices_are_spread_over_the_models() -> None:
    made = catalogue()
    assert {made.voice(name) for name in OPENAI_VOICES} == {"low", "high"}


@pytest.mark.parametrize(("given", "found"), [("en-US", "en"), ("DE", "de"), ("de-AT", "de"), (None, "en")])
def test_languages_match_by_their_primary_tag(given: str | None, found: str) -> None:
    assert catalogue().language(given) == found


@pytest.mark.parametrize(("languages", "told"), [(("en-us",), "en"), (("en", "de"), None)])
def test_a_voice_has_the_language_of_a_model_that_has_one(languages: tuple[str, ...], told: str | None) -> None:
    engine = ToneEngine()
    engine.languages = languages  # type: ignore[assignment]
    made = Catalogue(load_settings(model_name="narrator", model_path=Path("/store/models/x")), engine)
    assert made.describe("low") == {"id": "low", "language": told, "origin": "model", "license": ""}


def test_a_lexicon_changes_what_is_said_and_keeps_what_was_written() -> None:
    made = catalogue(lexicon={"SQL": "sequel"})
    speech = made.speech(Ask("I use SQL. And you?", "input", lexicon={"you": "ewe"}))
    assert speech.utterance.sentences == ("I use sequel.", "And ewe?")
    assert ["".join(p.written for p in pieces) for pieces in speech.script] == ["I use SQL.", "And you?"]
    assert speech.characters == len("I use SQL. And you?")


def test_what_grows_too_long_is_said_in_parts() -> None:
    speech = catalogue(lexicon={"x": "a rather long way to say it"}).speech(Ask("x " * 40 + "end", "input"))
    assert all(len(sentence) <= LONGEST + 1 for sentence in speech.utterance.sentences)
    assert " ".join(speech.utterance.sentences).count("rather") == 40


def test_refusals_are_short_whatever_was_sent() -> None:
    with pytest.raises(InvalidRequest) as caught:
        catalogue().voice("v" * 100_000)
    assert len(caught.value.message) < 200
