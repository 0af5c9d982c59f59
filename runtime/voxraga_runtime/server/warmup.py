"""The proof, before the server is ready, that the model speaks; and the level each voice is played at."""

import numpy as np

from voxraga_runtime.common.audio import FloatArray, gain_for, rms
from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.server.engines.base import Engine, Utterance

TEXTS = {
    "en": "The quick brown fox jumps over the lazy dog.",
    "de": "Zwölf Boxkämpfer jagen Viktor quer über den Sylter Deich.",
    "fr": "Portez ce vieux whisky au juge blond qui fume.",
    "es": "El veloz murciélago comía feliz cardillo y kiwi.",
    "it": "Ma la volpe, col suo balzo, ha raggiunto il quieto Fido.",
    "pt": "À noite, vovô Kowalsky vê o ímã cair no pé do pinguim.",
    "nl": "Pa's wijze lynx bezag vroom het fikse aquaduct.",
    "pl": "Zażółć gęślą jaźń, powiedział stary mistrz.",
    "uk": "Сьогодні гарна погода, і діти гуляють у парку.",
    "ru": "Съешь же ещё этих мягких французских булок.",
    "zh": "今天天气很好，我们一起去公园散步吧。",
    "ja": "今日は天気がいいので、公園を散歩しましょう。",
    "ko": "오늘은 날씨가 좋아서 공원을 산책합시다.",
}
SECONDS_PER_CHARACTER = (0.01, 1.5)  # a fast English voice needs 0.04, a Chinese one 0.2
QUIETEST = 1e-5  # RMS of full scale: -100 dBFS; digital silence and denormals lie below, the softest model far above
MEASURED_VOICES = 8  # each costs one sentence at the start; further voices take the first one's level


def warm_up(engine: Engine, default_voice: str, language: str) -> dict[str, float]:
    """Speak with each of the first voices; returns the gain for each voice id.

    Raises StartupError (WarmupFailed) where the sound is silent, too short, endless or not made of numbers.
    """
    voices = [v.id for v in engine.voices()]
    order = [default_voice, *(v for v in voices if v != default_voice)]
    gains = {}
    for voice in order[:MEASURED_VOICES]:
        gains[voice] = gain_for(_spoken(engine, voice, language), engine.sample_rate)
    return {voice: gains.get(voice, gains[default_voice]) for voice in order}


def _spoken(engine: Engine, voice: str, language: str) -> FloatArray:
    text = TEXTS.get(language.split("-", maxsplit=1)[0].split("_", maxsplit=1)[0].lower(), TEXTS["en"])
    try:
        chunks = list(engine.synthesize(Utterance((text,), voice, language), lambda: False))
    except Exception as error:  # whatever a broken model raises
        raise _failed(voice, f"{type(error).__name__}: {error}") from error
    samples = np.concatenate([c.samples for c in chunks]) if chunks else np.zeros(0, dtype=np.float32)
    _check(samples, len(samples) / engine.sample_rate, text, voice)
    return samples


def _check(samples: FloatArray, seconds: float, text: str, voice: str) -> None:
    low, high = (limit * len(text) for limit in SECONDS_PER_CHARACTER)
    if not np.isfinite(samples).all():
        raise _failed(voice, "the samples hold NaN or infinity: are the weights damaged?")
    if not low <= seconds <= high:
        raise _failed(voice, f"{len(text)} characters took {seconds:.2f} s; expected {low:.2f} to {high:.0f} s")
    if rms(samples) < QUIETEST:
        raise _failed(voice, f"the sound is silent (RMS {rms(samples):.1e} of full scale)")


def _failed(voice: str, problem: str) -> StartupError:
    return StartupError("WarmupFailed", f"the warm-up sentence with voice {voice!r} failed: {problem}")
