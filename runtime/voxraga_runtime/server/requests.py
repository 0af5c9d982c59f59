"""What clients may ask for: names, aliases and bounds checked, and turned into a Speech."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

from pydantic import BaseModel

from voxraga_runtime.common.encoding import FORMATS, Format
from voxraga_runtime.common.errors import InvalidRequest, StartupError
from voxraga_runtime.common.settings import FASTEST, SLOWEST, ServerSettings
from voxraga_runtime.server.engines.base import Engine, Utterance
from voxraga_runtime.server.lexicon import Lexicon, LexiconError, Piece, spoken
from voxraga_runtime.server.render import Speech
from voxraga_runtime.server.text import LONGEST, finished, split_sentences

OPENAI_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")  # clients that can't be told a model send one of these
OPENAI_VOICES = (
    *("alloy", "echo", "nova", "onyx", "shimmer", "fable", "coral", "ash", "sage", "ballad", "verse", "marin", "cedar"),
)
NAMES_SHOWN = 40
STREAM_FORMATS = ("audio", "sse")
GRANULARITIES = ("word",)
MOST_ENTRIES = 100  # of a request's lexicon


class VoiceId(BaseModel):
    """A voice named by an object, as OpenAI's clients name custom ones."""

    id: str


def voice_id(voice: str | VoiceId | None) -> str | None:
    """The name in whatever a client names a voice by."""
    return voice.id if isinstance(voice, VoiceId) else voice


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as it came, whichever route it came by; None is "not said". `text_field` names it in errors."""

    text: str
    text_field: str
    model: str | None = None
    voice: str | None = None
    language: str | None = None
    format: str | None = None
    speed: float | None = None
    sample_rate: int | None = None
    stream: bool | None = None
    stream_format: str | None = None
    seed: int | None = None
    lexicon: Mapping[str, str] | None = None
    timestamp_granularities: Sequence[str] | None = None
    format_field: str = field(default="response_format")
    anew: bool = False  # its time is to be measured: made, whether or not the answer is in the cache


class Catalogue:
    """What this server has: the model's name, its voices and their aliases, languages and formats.

    Raises StartupError (SettingsInvalid) where a default, an alias or the lexicon names what the model doesn't have.
    """

    def __init__(self, settings: ServerSettings, engine: Engine, languages: Sequence[str] = ()) -> None:
        """`languages` as the model's manifest calls them: the one of a model that has just one goes by that name."""
        self._settings = settings
        self._rate = engine.sample_rate
        self._slices = engine.capabilities.streaming == "slice"
        self._char_limits = engine.capabilities.char_limits
        self._architecture = engine.architecture
        self._tells_times = engine.capabilities.timestamps
        self.model = settings.model_name
        self._voices = {v.id: v for v in engine.voices()}
        self.voices = tuple(self._voices)
        self._languages = engine.languages  # as the engine calls them; the same places as in `languages`
        self.languages = _shown(engine.languages, languages)
        self.aliases = self._aliases(settings)
        self.default_voice = self._configured("DEFAULT_VOICE", settings.default_voice, self.voices)
        self.default_language = self._default_language(settings.default_language)
        self._openai = self._openai_voices()
        self._lexicon = self._configured_lexicon(engine)

    def _configured_lexicon(self, engine: Engine) -> Lexicon:
        try:
            return Lexicon(self._settings.lexicon, engine.languages, engine.capabilities.phonemes)
        except LexiconError as error:
            raise StartupError("SettingsInvalid", f"VOXRAGA_LEXICON: {error}") from None

    def _aliases(self, settings: ServerSettings) -> dict[str, str]:
        for name, voice in settings.voice_aliases.items():
            if voice not in self.voices:
                message = f"VOXRAGA_VOICE_ALIASES: {name} is {voice!r}; the model has {_list(self.voices)}"
                raise StartupError("SettingsInvalid", message)
        return dict(settings.voice_aliases)

    def _configured(self, variable: str, value: str | None, known: Sequence[str]) -> str:
        found = known[0] if value is None else _match(value, known) or self.aliases.get(value)
        if found is None:
            raise StartupError("SettingsInvalid", f"VOXRAGA_{variable} is {value!r}; the model has {_list(known)}")
        return found

    def _default_language(self, value: str | None) -> str:
        found = self._languages[0] if value is None else self._language(value)
        if found is None:
            message = f"VOXRAGA_DEFAULT_LANGUAGE is {value!r}; the model has {_list(self.languages)}"
            raise StartupError("SettingsInvalid", message)
        return found

    def _openai_voices(self) -> dict[str, str]:
        """Spread OpenAI's names over the voices, so that different ones sound different; alloy is the default voice."""
        start = self.voices.index(self.default_voice)
        return {name: self.voices[(start + i) % len(self.voices)] for i, name in enumerate(OPENAI_VOICES)}

    def speech(self, ask: Ask) -> Speech:
        """Check a request, whose model is this one. Raises InvalidRequest that names the field and what is allowed."""
        form = self._format(ask)
        language = self.language(ask.language)
        script = self._script(ask, language)
        stream_format = ask.stream_format or "audio"
        if stream_format not in STREAM_FORMATS:
            _refuse("stream_format", stream_format, "audio or sse")
        events = stream_format == "sse"
        # where one sentence comes in one piece anyway, its header can be exact
        by_itself = form.streams_by_default and (self._slices or len(script) > 1)
        streamed = events or (by_itself if ask.stream is None else ask.stream)
        utterance = Utterance(
            sentences=tuple(map(spoken, script)),
            voice=self.voice(ask.voice),
            language=language,
            speed=self._speed(ask.speed),
            seed=ask.seed or 0,
            streamed=streamed,
        )
        rate = self._sample_rate(form, ask.sample_rate)
        times = self._timestamps(ask.timestamp_granularities)
        return Speech(utterance, form, rate, streamed, events, len(ask.text), times, script, self.model)

    def voice(self, name: str | None) -> str:
        if not name:
            return self.default_voice
        found = _match(name, self.voices) or self.aliases.get(name) or self._openai.get(name.lower())
        return found or _refuse("voice", name, f"one of {_list(self.voices)}")

    def describe(self, name: str) -> dict[str, Any]:
        """A voice as the listings show it; of an alias, the voice that it means. Language: the only one it speaks."""
        voice = self._voices[self.voice(name)]
        only = self.languages[0] if len(self.languages) == 1 else None
        return {**asdict(voice), "language": voice.language or only}

    def language(self, name: str | None) -> str:
        """The engine's own name for it."""
        found = self._language(name) if name else self.default_language
        return found or _refuse("language", name or "", f"one of {_list(self.languages)}")

    def _language(self, name: str) -> str | None:
        primary = name.split("-", maxsplit=1)[0].lower()
        return (
            _match(name, self._languages)
            or next((own for own, shown in zip(self._languages, self.languages, strict=True) if shown == name), None)
            or next((known for known in self._languages if known.split("-")[0].lower() == primary), None)
        )

    def _format(self, ask: Ask) -> Format:
        name = (ask.format or self._settings.default_format).lower()
        return FORMATS.get(name) or _refuse(ask.format_field, name, f"one of {', '.join(FORMATS)}")

    def _speed(self, speed: float | None) -> float:
        if speed is None:
            return self._settings.default_speed
        if not SLOWEST <= speed <= FASTEST:  # also false of NaN
            _refuse("speed", f"{speed:g}", f"a number from {SLOWEST} to {FASTEST}")
        return speed

    def _sample_rate(self, form: Format, wanted: int | None) -> int:
        if wanted is None:
            return form.rate_for(self._rate)
        if wanted not in form.rates:
            _refuse("sample_rate", str(wanted), f"for {form.name} one of {', '.join(map(str, form.rates))}")
        return wanted

    def _timestamps(self, granularities: Sequence[str] | None) -> bool:
        for name in granularities or ():
            if name not in GRANULARITIES:
                _refuse("timestamp_granularities", name, "word")
        if granularities and not self._tells_times:
            message = f"timestamp_granularities: {self.model} ({self._architecture}) can't tell the words' times"
            raise InvalidRequest(message, param="timestamp_granularities", code="unsupported_by_model")
        return bool(granularities)

    def _script(self, ask: Ask, language: str) -> tuple[tuple[Piece, ...], ...]:
        """The sentences in pieces, as they are written and as they are said."""
        longest = self._settings.max_text_length
        if len(ask.text) > longest:
            message = f"{ask.text_field} has {len(ask.text)} characters; at most {longest} are allowed"
            raise InvalidRequest(message, param=ask.text_field, code="string_above_max_length")
        limit = self._longest(language)
        sentences = split_sentences(ask.text, limit)
        if not sentences:
            message = f"{ask.text_field} has nothing to speak: it needs at least one letter or digit"
            raise InvalidRequest(message, param=ask.text_field, code="empty_input")
        lexicon = self._asked_lexicon(ask.lexicon)
        return tuple(pieces for s in sentences for pieces in _respelled(s, lexicon, language, limit))

    def _asked_lexicon(self, entries: Mapping[str, str] | None) -> Lexicon:
        if entries and len(entries) > MOST_ENTRIES:
            message = f"lexicon has {len(entries)} entries; at most {MOST_ENTRIES} are allowed in a request"
            raise InvalidRequest(message, param="lexicon")
        try:
            return self._lexicon.over(entries)
        except LexiconError as error:
            raise InvalidRequest(f"lexicon: {error}", param="lexicon") from None

    def _longest(self, language: str) -> int:
        """Characters that the model can take at once; one is left for the mark that `finished` may add."""
        limit = self._char_limits.get(language) or self._char_limits.get(language.split("-", maxsplit=1)[0])
        return min(LONGEST, limit - 1) if limit else LONGEST


def _respelled(sentence: str, lexicon: Lexicon, language: str, limit: int) -> list[tuple[Piece, ...]]:
    """One sentence, or its halves where what is said instead is too long for the model."""
    pieces = lexicon.apply(finished(sentence), language)
    if len(spoken(pieces)) <= limit + 1:  # one for the mark
        return [pieces]
    halves = split_sentences(sentence, max(1, -(-len(sentence) // 2)))
    if len(halves) < 2:  # noqa: PLR2004 - a single word: as it is
        return [pieces]
    return [part for half in halves for part in _respelled(half, lexicon, language, limit)]


def _shown(engine: Sequence[str], stored: Sequence[str]) -> tuple[str, ...]:
    """Languages as everybody is told them, status.model included; engines may add a region for their phonemizer."""
    if len(engine) != 1:
        return tuple(engine)
    return (stored[0] if len(stored) == 1 else engine[0].split("-", maxsplit=1)[0],)


def _match(name: str, known: Sequence[str]) -> str | None:
    return next((k for k in known if k == name), None) or next((k for k in known if k.lower() == name.lower()), None)


def _refuse(field_name: str, value: str, allowed: str) -> NoReturn:
    raise InvalidRequest(f"{field_name} is {_short(value)}; it must be {allowed}", param=field_name)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "…"  # noqa: PLR2004 - what fits a line


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
