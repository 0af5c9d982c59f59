"""coqui-tts models: VITS, GlowTTS, FastPitch, SpeedySpeech, Tacotron and their kin, with a vocoder or Griffin-Lim.

The model is driven directly (tokens → inference → vocoder): coqui's own `tts()` adds 0.45 s of silence to each
sentence, copies the samples through a Python list, scales each answer to full level and drops the speed.
"""

import contextlib
import functools
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from TTS.config import register_config
from TTS.tts.models import setup_model
from TTS.vocoder.models import setup_model as setup_vocoder
from TTS.vocoder.utils.generic_utils import interpolate_vocoder_input

from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.server.engines import hifigan, vits
from voxraga_runtime.server.engines.ahead import Check, Cores, Work
from voxraga_runtime.server.engines.base import Cancelled, Capabilities, Chunk, FloatArray, Utterance, Voice, Word
from voxraga_runtime.server.engines.batching import Batcher
from voxraga_runtime.server.engines.bundle import VOCODERS, Bundle
from voxraga_runtime.server.engines.dvectors import clones, recorded_voices
from voxraga_runtime.server.engines.forward import infer_forward
from voxraga_runtime.server.engines.griffinlim import GriffinLim
from voxraga_runtime.server.engines.latents import KeptLatents
from voxraga_runtime.server.engines.noise import OwnNoise
from voxraga_runtime.server.engines.phonemes import phonemes_of, text_to_ids
from voxraga_runtime.server.engines.precision import Precision, decoder_type
from voxraga_runtime.server.engines.tempo import at_speed, frames_rounded_up
from voxraga_runtime.server.engines.words import align, token_symbols

ONLY_VOICE = "default"  # the voice of a model that has just one
SHORTEST = 3  # tokens; fewer collapse a dimension in some models' `squeeze()`
FORWARD = "ForwardTTS"  # SpeedySpeech, FastPitch, FastSpeech
VITS = "Vits"
# models that round durations up: what makes their speed exact (see tempo)
ROUNDING_UP: frozenset[str] = frozenset({VITS, "GlowTTS"})
# these write nothing to themselves in inference; Tacotron's decoder keeps its attention state on the module.
# They are also those whose speed is exact; the others are stretched by the server.
REENTRANT = ROUNDING_UP | {FORWARD}
KEPT_SENTENCES = 1024  # as tokens: of 220 letters with blanks, under 4 MiB together
BATCH_DELAY = 0.005  # seconds; a slice waits at most that long for company
ALONE = Cores(1)  # one piece after another, on the caller's thread
TIMED = frozenset({VITS, FORWARD})  # these tell how many frames each token takes

# coqui logs the text of every request, and characters it doesn't know together with their text
for _name in ("TTS", "trainer"):
    logging.getLogger(_name).setLevel(logging.ERROR)


class CoquiEngine:
    """Serves one bundle of the store, read-only. See engines.base.Engine for the methods.

    With `max_batch` above 1, a model that can (VITS) decodes slices of up to so many requests at once, on one thread
    that uses `batch_threads` CPUs. Without batches, `cores` may make what comes next of an utterance ahead.
    """

    def __init__(
        self,
        path: Path,
        device: str = "cpu",
        max_batch: int = 1,
        batch_threads: int = 1,
        *,
        cores: Cores = ALONE,
        precision: Precision = "float32",
    ) -> None:
        self._path = path
        self._precision = precision
        self._device = device
        self._max_batch = max_batch
        self._batch_threads = batch_threads
        self._cores = cores
        self._batcher: Batcher[hifigan.Layout, vits.Window, torch.Tensor] | None = None
        self._lock = threading.Lock()
        self._model: Any = None
        self._vocoder: Any = None
        self._vocoder_ap: Any = None
        self._griffin_lim: GriffinLim | None = None
        self._recorded: dict[Voice, torch.Tensor] = {}
        self._rate = 0
        # letters to phonemes is a process (espeak-ng) for each piece of a sentence
        self._tokens = functools.lru_cache(KEPT_SENTENCES)(self._tokenized)

    @property
    def sample_rate(self) -> int:
        return self._rate

    @property
    def architecture(self) -> str:
        return str(self._model.config.model)

    @property
    def capabilities(self) -> Capabilities:
        own = self._family in REENTRANT
        slicing = self._family == VITS
        return Capabilities(
            speed=own,
            reentrant=own,
            streaming="slice" if slicing else "sentence",
            max_batch=self._max_batch if slicing else 1,
            timestamps=self._family in TIMED,
            cloning=clones(self._model),
            phonemes=phonemes_of(self._model.tokenizer),
        )

    @property
    def _family(self) -> str:
        return type(self._model).__name__

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self._model.language_manager.language_names)

    @property
    def memory(self) -> int:
        parts = [part for part in (self._model, self._vocoder) if part is not None]
        return sum(tensor.nbytes for part in parts for tensor in (*part.parameters(), *part.buffers()))

    def voices(self) -> tuple[Voice, ...]:
        return (*map(Voice, self._speakers()), *self._recorded) or (Voice(ONLY_VOICE),)

    def load(self) -> None:
        if self._device == "cuda" and not torch.cuda.is_available():
            raise StartupError("DeviceUnavailable", "device is cuda, but torch sees no GPU in this container")
        bundle = Bundle(self._path)
        try:
            self._load_model(bundle)
            if vocoder := bundle.vocoder:
                self._load_vocoder(vocoder)
        except StartupError:
            raise
        except Exception as error:  # coqui and torch raise anything for a bundle that is not whole
            raise StartupError("ModelInvalid", f"{bundle.root}: {type(error).__name__}: {error}") from error

    def _load_model(self, bundle: Bundle) -> None:
        config = _coqui_config(bundle.config())
        if config.use_phonemes and not config.phonemizer:
            config.phonemizer = "espeak"
        model = setup_model(config)
        # trainer reads with weights_only=True; half-precision weights are copied into the model's float32 parameters
        model.load_checkpoint(config, bundle.checkpoint(), eval=True)
        _use_stats(model.ap, bundle.stats)
        self._model = model.to(self._device)
        if clones(model):
            self._recorded = recorded_voices(model, bundle.root / "voices", KeptLatents(bundle.checkpoint()))
        hifigan.fold_weights(self._model)
        kind = decoder_type(self._precision, self._device, str(config.model), holds=self._family == VITS)
        if self._family == VITS:
            self._model.waveform_decoder.to(kind)
        self._rate = int(config.audio.get("output_sample_rate") or config.audio.sample_rate)
        if self.capabilities.max_batch > 1:
            run = functools.partial(vits.decode_together, self._model.waveform_decoder)
            setup = functools.partial(torch.set_num_threads, self._batch_threads)
            self._batcher = Batcher(run, self._max_batch, BATCH_DELAY, setup)
        self._griffin_lim = GriffinLim(model.ap, self._device, linear=str(config.model).lower() == "tacotron")

    def _load_vocoder(self, bundle: Bundle) -> None:
        from TTS.utils.audio import AudioProcessor  # noqa: PLC0415 - only models with a vocoder need it

        config = _coqui_config(bundle.config(VOCODERS))
        self._vocoder_ap = AudioProcessor(config.audio)
        _use_stats(self._vocoder_ap, bundle.stats)
        vocoder = setup_vocoder(config)
        vocoder.load_checkpoint(config, bundle.checkpoint(), eval=True)
        self._vocoder = vocoder.to(self._device)
        self._rate = int(config.audio.sample_rate)

    def close(self) -> None:
        if self._batcher is not None:
            self._batcher.close()
        self._tokens.cache_clear()
        self._model = self._vocoder = self._griffin_lim = None

    def synthesize(self, utterance: Utterance, cancelled: Cancelled) -> Iterator[Chunk]:
        works: list[Work] = [
            functools.partial(self._sentence, utterance, index, sentence)
            for index, sentence in enumerate(utterance.sentences)
        ]
        # batches want one thread for each request, and of what isn't reentrant nothing can be made meanwhile
        cores = self._cores if self._batcher is None and self.capabilities.reentrant else ALONE
        with self._batcher.member() if self._batcher is not None else contextlib.nullcontext():
            yield from cores.speak(works, cancelled)

    def _tokenized(self, sentence: str, language: str) -> tuple[int, ...]:
        return tuple(text_to_ids(self._model.tokenizer, sentence, language))

    def _exclusive(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self.capabilities.reentrant else self._lock

    def _sentence(self, utterance: Utterance, index: int, sentence: str, check: Check) -> Chunk | list[Work]:
        """All of it, or its slices."""
        language = utterance.language or self.languages[0]
        tokens = list(self._tokens(sentence, language))
        if not tokens:
            return []
        tokens += tokens[-1:] * max(0, SHORTEST - len(tokens))
        x = torch.tensor([tokens], device=self._device)
        conditions = self._conditions(x, utterance.voice, language)
        noise = OwnNoise(utterance.seed + index)
        check()
        # the modes belong to the thread: they end before anything is handed on
        if self._family != VITS:
            with self._exclusive(), noise, torch.inference_mode():
                samples, durations = self._through_spectrogram(x, utterance.speed, conditions, noise, check)
            return Chunk(samples, index, words=self._words(sentence, tokens, durations)) if samples.size else []
        with noise, torch.inference_mode():
            made = vits.latents(self._model, x, conditions, utterance.speed)
        words = self._words(sentence, tokens, made.durations)
        cuts = vits.slices(made.z.shape[-1], streamed=utterance.streamed)
        return [
            functools.partial(self._slice, made, cut, index, final=cut is cuts[-1], words=() if cut[0] else words)
            for cut in cuts
        ]

    def _slice(
        self,
        made: vits.Latents,
        cut: hifigan.Span,
        index: int,
        check: Check,
        *,
        final: bool,
        words: tuple[Word, ...],
    ) -> Chunk:
        decoder = self._model.waveform_decoder

        def alone(z: torch.Tensor, g: torch.Tensor | None, layout: hifigan.Layout) -> torch.Tensor:
            return hifigan.run(decoder, z, g, layout, check)[0]

        def together(z: torch.Tensor, g: torch.Tensor | None, layout: hifigan.Layout) -> torch.Tensor:
            assert self._batcher is not None
            return self._batcher.do(layout, (z, g))

        batched = self._batcher is not None
        with torch.inference_mode():
            samples = vits.decode(decoder, made, cut, together if batched else alone, together=batched)
            return Chunk(np.ascontiguousarray(samples.float().cpu().numpy()), index, final=final, words=words)

    def _through_spectrogram(
        self,
        x: torch.Tensor,
        speed: float,
        conditions: dict[str, torch.Tensor | None],
        noise: OwnNoise,
        check: Check,
    ) -> tuple[FloatArray, torch.Tensor | None]:
        durations = None
        model = self._model
        if self._family == FORWARD:
            output, durations = infer_forward(model, x, conditions, speed)
        else:
            if self._family in ROUNDING_UP and speed != 1.0:
                model = at_speed(model, speed, frames_rounded_up)
            output = model.inference(x, conditions)["model_outputs"]
        check()
        return self._to_samples(output, noise, check), durations

    def _words(self, sentence: str, tokens: list[int], durations: torch.Tensor | None) -> tuple[Word, ...]:
        if durations is None:
            return ()
        audio = self._model.config.audio
        # a model may make its frames at a lower rate than its samples
        rate = getattr(self._model.args, "encoder_sample_rate", None) or audio.sample_rate
        symbols = token_symbols(self._model.tokenizer, tokens)
        return align(sentence, symbols, durations.tolist(), audio.hop_length / rate)

    def _conditions(self, x: torch.Tensor, voice: str, language: str) -> dict[str, torch.Tensor | None]:
        model = self._model
        conditions: dict[str, torch.Tensor | None] = {
            "x_lengths": torch.tensor([x.shape[1]], device=self._device),
            "speaker_ids": None,
            "d_vectors": None,
            "language_ids": None,
        }
        if len(model.language_manager.name_to_id) > 1:
            conditions["language_ids"] = torch.tensor(
                [model.language_manager.name_to_id[language]], device=self._device
            )
        recorded = {known.id: vector for known, vector in self._recorded.items()}
        if voice in recorded:
            conditions["d_vectors"] = recorded[voice].to(self._device)
        elif voice in self._speakers():
            if model.speaker_manager.embeddings_by_names:
                vector = np.mean(model.speaker_manager.embeddings_by_names[voice], axis=0)
                conditions["d_vectors"] = torch.tensor(vector, dtype=torch.float32, device=self._device)[None]
            else:
                conditions["speaker_ids"] = torch.tensor([model.speaker_manager.name_to_id[voice]], device=self._device)
        return conditions

    def _to_samples(self, output: torch.Tensor, noise: OwnNoise, check: Check) -> FloatArray:
        """Of a spectrogram [1, frames, bins]."""
        if self._vocoder is not None:
            samples = self._vocode(output[0])
        else:
            assert self._griffin_lim is not None
            samples = self._griffin_lim(output[0], noise.generator(self._device), check)
        return np.ascontiguousarray(samples, dtype=np.float32)

    def _vocode(self, mel: torch.Tensor) -> FloatArray:
        levels = self._model.ap.denormalize(mel.float().cpu().numpy().T)
        wanted = self._vocoder_ap.normalize(levels)
        ratio = self._rate / self._model.ap.sample_rate
        if ratio == 1:
            features = torch.tensor(wanted, dtype=torch.float32)[None]
        else:
            features = interpolate_vocoder_input([1, ratio], wanted)
        samples: FloatArray = self._vocoder.inference(features.to(self._device)).float().cpu().numpy().reshape(-1)
        return samples

    def _speakers(self) -> list[str]:
        manager = self._model.speaker_manager
        return list(manager.name_to_id) if manager is not None else []


def _coqui_config(values: dict[str, Any]) -> Any:
    """coqui's config object of the checked values, as TTS.config.load_config makes it of a file."""
    name = str(values.get("model", values.get("generator_model"))).lower().replace("_generator", "")
    config = register_config(name)()
    config.from_dict(values)
    return config


def _use_stats(processor: Any, stats: dict[str, Any] | None) -> None:
    """What AudioProcessor does with `stats_path`, from statistics that were read safely."""
    if stats is None or not processor.signal_norm:
        return
    processor.setup_scaler(stats["mel_mean"], stats["mel_std"], stats["linear_mean"], stats["linear_std"])
    processor.max_norm = processor.clip_norm = processor.symmetric_norm = None
