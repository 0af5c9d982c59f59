"""Whisper, by transformers: speech to text in windows of 30 seconds, each cut where its last whole segment ends."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    StoppingCriteria,
    StoppingCriteriaList,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)
from transformers.utils import logging

from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.server.engines.base import Cancelled, FloatArray
from voxraga_runtime.server.engines.bundle import Bundle
from voxraga_runtime.server.engines.noise import OwnNoise
from voxraga_runtime.server.engines.token_words import words_in
from voxraga_runtime.server.engines.transcribe import RATE, Heard, Segment

WINDOW = 30.0  # seconds that the model was trained on
LEAST_STEP = 1.0  # seconds; each window goes on at least that far, whatever the model says
# it draws a bar for each load, and explains the arguments of each call
logging.set_verbosity_error()  # type: ignore[no-untyped-call]
logging.disable_progress_bar()  # type: ignore[no-untyped-call]
SPECIAL = re.compile(r"<\|(.*?)\|>")


class _Stopped(StoppingCriteria):
    """Ends a generation once nobody wants it."""

    def __init__(self, cancelled: Cancelled) -> None:
        self._cancelled = cancelled

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        del scores
        return torch.full((input_ids.shape[0],), self._cancelled(), dtype=torch.bool, device=input_ids.device)


class WhisperEngine:
    """Serves one folder as transformers publishes them. See engines.transcribe.Transcriber for the methods."""

    architecture = "whisper"

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._path = path
        self._device = device
        self._model: Any = None
        self._tokenizer: Any = None
        self._features: Any = None

    @property
    def languages(self) -> tuple[str, ...]:
        codes = getattr(self._model.generation_config, "lang_to_id", None) or {"<|en|>": 0}
        return tuple(SPECIAL.sub(r"\1", code) for code in codes)

    @property
    def tells_words(self) -> bool:
        return bool(getattr(self._model.generation_config, "alignment_heads", None))

    def load(self) -> None:
        if self._device == "cuda" and not torch.cuda.is_available():
            raise StartupError("DeviceUnavailable", "device is cuda, but torch sees no GPU in this container")
        bundle = Bundle(self._path)
        if bundle.architecture("model_type") != "whisper":
            raise StartupError("ModelInvalid", f"{bundle.root / 'config.json'}: model_type is not whisper")
        try:
            options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
            self._features = WhisperFeatureExtractor.from_pretrained(bundle.root, **options)
            self._tokenizer = WhisperTokenizer.from_pretrained(bundle.root, **options)
            model: Any = WhisperForConditionalGeneration.from_pretrained(bundle.root, dtype=torch.float32, **options)
        except Exception as error:  # transformers raises anything for a folder that is not whole
            raise StartupError("ModelInvalid", f"{bundle.root}: {type(error).__name__}: {error}") from error
        start = self._tokenizer.convert_tokens_to_ids("<|startoftranscript|>")
        if start != model.config.decoder_start_token_id:  # transformers makes an empty one where its files are missing
            raise StartupError("ModelInvalid", f"{bundle.root}: the tokenizer is missing, or another model's")
        self._model = model.to(self._device).eval()

    def close(self) -> None:
        self._model = None

    def transcribe(
        self,
        pcm16k: FloatArray,
        language: str | None = None,
        prompt: str = "",
        temperature: float = 0.0,
        *,
        seed: int = 0,
        timestamps: bool = True,
        words: bool = False,
        translate: bool = False,
        cancelled: Cancelled = lambda: False,
    ) -> Iterator[Heard | Segment]:
        length = len(pcm16k) / RATE
        spoken = language or self._detect(pcm16k[: round(WINDOW * RATE)])
        yield Heard(spoken, length)
        options = self._options(spoken, prompt, temperature, timestamps=timestamps, translate=translate)
        options["return_token_timestamps"] = words and timestamps
        noise = OwnNoise(seed)
        start = 0.0
        while start < length and not cancelled():
            window = pcm16k[round(start * RATE) : round((start + WINDOW) * RATE)]
            with noise:  # it belongs to the thread: not entered while the caller has a segment
                found = self._window(window, options, spoken, cancelled)
            if cancelled():
                return
            last = start + WINDOW >= length
            # the last segment of a window is cut by its end, perhaps: the next window begins with it
            cut = not last and len(found) > 1 and found[-1].start >= LEAST_STEP
            for segment in found[:-1] if cut else found:
                yield segment.moved(start, length, temperature)
            start += found[-1].start if cut else WINDOW

    def _options(
        self, language: str, prompt: str, temperature: float, *, timestamps: bool, translate: bool
    ) -> dict[str, Any]:
        options: dict[str, Any] = {"return_timestamps": timestamps, "do_sample": temperature > 0}
        if temperature > 0:
            options["temperature"] = temperature
        if getattr(self._model.generation_config, "is_multilingual", False):
            options |= {"language": language, "task": "translate" if translate else "transcribe"}
        if prompt.strip():
            ids = self._tokenizer.get_prompt_ids(prompt, return_tensors="pt")
            options["prompt_ids"] = ids[-self._model.config.max_target_positions // 2 + 1 :].to(self._device)
        return options

    @torch.inference_mode()
    def _window(self, pcm: FloatArray, options: dict[str, Any], language: str, cancelled: Cancelled) -> list[Segment]:
        features, mask = self._hear(pcm)
        timed = bool(options["return_timestamps"])
        made = self._model.generate(
            features,
            attention_mask=mask,
            return_segments=timed,
            return_dict_in_generate=timed,
            stopping_criteria=StoppingCriteriaList([_Stopped(cancelled)]),
            **options,
        )
        length = len(pcm) / RATE
        found = made["segments"][0] if timed else [{"start": 0.0, "end": length, "tokens": made[0]}]
        return [s for part in found if (s := self._segment(part, length, language)) is not None]

    def _segment(self, part: dict[str, Any], length: float, language: str) -> Segment | None:
        """What a part of the window says, within the audio; None where that is nothing."""
        start, end, tokens = float(part["start"]), float(part["end"]), part["tokens"].tolist()
        text = self._decode(tokens)
        if not text.strip() or start >= length:
            return None
        ends = part["token_timestamps"].tolist() if "token_timestamps" in part else None
        words = () if ends is None else words_in(tokens, ends, start, self._decode, language)
        return Segment(start, max(start, min(end, length)), text, tuple(tokens), words=words)

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))

    @torch.inference_mode()
    def _detect(self, pcm: FloatArray) -> str:
        if not getattr(self._model.generation_config, "is_multilingual", False):
            return self.languages[0]
        features, _ = self._hear(pcm)
        token = int(self._model.detect_language(features)[0])
        return SPECIAL.sub(r"\1", self._tokenizer.convert_ids_to_tokens(token))

    def _hear(self, pcm: FloatArray) -> tuple[torch.Tensor, torch.Tensor]:
        made = self._features(
            np.ascontiguousarray(pcm), sampling_rate=RATE, return_tensors="pt", return_attention_mask=True
        )
        return made.input_features.to(self._device), made.attention_mask.to(self._device)
