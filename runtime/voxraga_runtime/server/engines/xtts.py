"""XTTS v2: speech in many languages with the voices of the bundle, or of recordings beside it.

It keeps a generation's state on its modules: two at once would speak with each other's voices. One XttsEngine
therefore serves one utterance at a time, and the server runs each in a process of its own (see processes).
"""

import importlib.util
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from TTS.tts.configs.xtts_config import XttsConfig
from TTS.tts.models import xtts as coqui

from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.server.engines.base import Cancelled, Capabilities, Chunk, FloatArray, Utterance, Voice
from voxraga_runtime.server.engines.bundle import Bundle
from voxraga_runtime.server.engines.growing import GrowingDecoder
from voxraga_runtime.server.engines.latents import KeptLatents
from voxraga_runtime.store.references import Reference, find_references

logging.getLogger("TTS").setLevel(logging.ERROR)  # it logs the texts

ARCHITECTURE = "xtts"
REFERENCE_RATE = 22050  # Hz, of the recordings as the model hears them
STREAMED_TOKENS = 20  # for a chunk, 0.9 s; coqui's default
WHOLE_TOKENS = 100  # where nobody listens yet
HELD = 512  # samples kept back from each chunk, so that the last one has something to fade out
NEEDS = {"zh": "pypinyin", "ja": "cutlet"}  # packages that read a language's script
Latents = tuple[torch.Tensor, torch.Tensor]


class _Xtts(coqui.Xtts):  # type: ignore[misc]
    """coqui's model, but loading writes nothing: coqui saves old checkpoints again, and the store is read-only."""

    def _load_checkpoint(self, model_path: Path) -> dict[str, Any]:
        with coqui._legacy_safe_globals():  # noqa: SLF001 - configs that old checkpoints hold; nothing else is let in
            checkpoint = torch.load(model_path, map_location="cpu", weights_only=True)
        weights: dict[str, Any] = checkpoint["model"]
        return weights


class XttsEngine:
    """Serves one bundle: config.json, model.pth, vocab.json, speakers_xtts.pth, voices/<name>/*.wav.

    `scratch` is where the recordings' latents are kept between starts; a folder of the temporary ones by default.
    """

    def __init__(self, path: Path, device: str = "cpu", scratch: Path | None = None) -> None:
        self._path = path
        self._device = device
        self._scratch = scratch
        self._lock = threading.Lock()
        self._model: Any = None
        self._latents: dict[str, Latents] = {}
        self._voices: tuple[Voice, ...] = ()

    @property
    def sample_rate(self) -> int:
        return int(self._model.args.output_sample_rate)

    @property
    def architecture(self) -> str:
        return ARCHITECTURE

    @property
    def capabilities(self) -> Capabilities:
        limits = self._model.tokenizer.char_limits
        return Capabilities(speed=True, reentrant=False, streaming="slice", cloning=True, char_limits=dict(limits))

    @property
    def languages(self) -> tuple[str, ...]:
        names = [str(name) for name in self._model.config.languages]
        return tuple(n for n in names if importlib.util.find_spec(NEEDS.get(n.split("-")[0], "torch")))

    @property
    def memory(self) -> int:
        return sum(tensor.nbytes for tensor in (*self._model.parameters(), *self._model.buffers()))

    def voices(self) -> tuple[Voice, ...]:
        return self._voices

    def load(self) -> None:
        if self._device == "cuda" and not torch.cuda.is_available():
            raise StartupError("DeviceUnavailable", "device is cuda, but torch sees no GPU in this container")
        bundle = Bundle(self._path)
        try:
            self._load(bundle)
        except StartupError:
            raise
        except Exception as error:  # coqui and torch raise anything for a bundle that is not whole
            raise StartupError("ModelInvalid", f"{bundle.root}: {type(error).__name__}: {error}") from error
        if not self._voices:
            raise StartupError("ModelInvalid", f"{bundle.root} has neither speakers_xtts.pth nor voices/<name>/*.wav")

    def _load(self, bundle: Bundle) -> None:
        config = XttsConfig()
        config.from_dict(bundle.config(frozenset({ARCHITECTURE})))
        vocabulary, speakers, checkpoint = (
            bundle.root / "vocab.json",
            bundle.root / "speakers_xtts.pth",
            bundle.checkpoint(),
        )
        if not vocabulary.is_file():
            raise StartupError("ModelMissing", f"{vocabulary} does not exist")
        model = _Xtts(config)
        model.load_checkpoint(
            config,
            checkpoint_path=checkpoint,
            vocab_path=vocabulary,
            speaker_file_path=speakers,
            eval=True,
            use_deepspeed=False,
        )
        self._model = model.to(self._device)
        own = model.speaker_manager.speakers if model.speaker_manager is not None else {}
        self._latents = {name: (v["gpt_cond_latent"], v["speaker_embedding"]) for name, v in own.items()}
        kept = KeptLatents(checkpoint, self._scratch)
        voices = [Voice(name) for name in own]
        for reference in find_references(bundle.root / "voices", REFERENCE_RATE):
            if reference.name not in own:  # the model's own names stay the model's
                heard, speaker = (part.to(self._device) for part in kept.of(reference, self._hear))
                self._latents[reference.name] = (heard, speaker)
                voices.append(Voice(reference.name, reference.language, origin="recording", license=reference.license))
        self._voices = tuple(voices)

    @torch.inference_mode()
    def _hear(self, reference: Reference) -> Latents:
        """As Xtts.get_conditioning_latents does, from samples that were read and checked here."""
        config = self._model.config
        longest = REFERENCE_RATE * config.max_ref_len
        clips = [torch.from_numpy(c[:longest])[None].to(self._device) for c in reference.clips]
        if config.sound_norm_refs:
            clips = [c / c.abs().max() * 0.75 for c in clips]
        speakers = [self._model.get_speaker_embedding(c, REFERENCE_RATE) for c in clips]
        heard = self._model.get_gpt_cond_latents(
            torch.cat(clips, dim=-1),
            REFERENCE_RATE,
            length=config.gpt_cond_len,
            chunk_length=config.gpt_cond_chunk_len,
        )
        return heard, torch.stack(speakers).mean(dim=0)

    def close(self) -> None:
        self._model = None
        self._latents = {}

    def synthesize(self, utterance: Utterance, cancelled: Cancelled) -> Iterator[Chunk]:
        with self._lock:
            for index, sentence in enumerate(utterance.sentences):
                if cancelled():
                    return
                yield from self._speak(index, sentence, utterance, cancelled)

    def _speak(self, index: int, sentence: str, utterance: Utterance, cancelled: Cancelled) -> Iterator[Chunk]:
        """Chunks as the model makes them, the last HELD samples of each one later."""
        held: FloatArray = np.zeros(0, dtype=np.float32)
        torch.manual_seed(utterance.seed + index)  # nobody else draws in this process
        language = utterance.language or self.languages[0]
        for part in self._parts(sentence, language):
            for samples in self._generate(part, language, utterance, cancelled):
                if cancelled():
                    return
                ready = np.concatenate([held, samples])
                if len(ready) > HELD:
                    yield Chunk(ready[:-HELD], index, final=False)
                held = ready[-HELD:]
        if len(held) and not cancelled():
            yield Chunk(held, index)

    @torch.inference_mode()
    def _generate(self, text: str, language: str, utterance: Utterance, cancelled: Cancelled) -> Iterator[FloatArray]:
        """As Xtts.inference_stream does, but for how the latents are decoded; ends early once nobody wants the rest."""
        latent, speaker = self._latents[utterance.voice]
        decoder = GrowingDecoder(self._model.hifigan_decoder, speaker.to(self._device), utterance.speed)
        size = STREAMED_TOKENS if utterance.streamed else WHOLE_TOKENS
        made: list[torch.Tensor] = []
        for _token, fresh in self._tokens(text, language, latent):
            if cancelled():
                return
            made.append(fresh)
            if len(made) % size == 0:
                yield _samples(decoder.samples(torch.cat(made)[None], final=False))
        if made:
            yield _samples(decoder.samples(torch.cat(made)[None], final=True))

    def _tokens(self, text: str, language: str, latent: torch.Tensor) -> Any:
        """Each audio token with its latent [1, channels], as they are generated."""
        config, gpt = self._model.config, self._model.gpt
        tokens = self._model.tokenizer.encode(text.strip().lower(), lang=language.split("-", maxsplit=1)[0])
        inputs = gpt.compute_embeddings(
            latent.to(self._device), torch.tensor([tokens], dtype=torch.int32, device=self._device)
        )
        return gpt.get_generator(
            fake_inputs=inputs,
            do_sample=True,
            num_beams=1,
            num_return_sequences=1,
            output_attentions=False,
            output_hidden_states=True,
            return_dict_in_generate=True,
            temperature=float(config.temperature),
            length_penalty=float(config.length_penalty),
            repetition_penalty=float(config.repetition_penalty),
            top_k=config.top_k,
            top_p=config.top_p,
        )

    def _parts(self, sentence: str, language: str) -> list[str]:
        """The sentence, halved at words until each part has fewer tokens than the model can take."""
        tokens = len(self._model.tokenizer.encode(sentence.strip().lower(), lang=language))
        words = sentence.split()
        if tokens < self._model.args.gpt_max_text_tokens or len(sentence) < 2:  # noqa: PLR2004 - nothing to halve
            return [sentence]
        if len(words) > 1:
            halves = [" ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])]
        else:
            halves = [sentence[: len(sentence) // 2], sentence[len(sentence) // 2 :]]
        return [part for half in halves for part in self._parts(half, language)]


def _samples(made: torch.Tensor) -> FloatArray:
    return np.ascontiguousarray(made.float().cpu().numpy(), dtype=np.float32)
