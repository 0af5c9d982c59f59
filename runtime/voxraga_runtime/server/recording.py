"""Recordings that clients send, decoded: any common container and codec in, float32 mono at 16 kHz out.

Nothing about such a file is believed. libav may open these containers and codecs only (a playlist would fetch what it
names, files and URLs of this network included), and decoding ends where the recording gets longer than allowed.
"""

from typing import Any, BinaryIO

import av
import numpy as np

from voxraga_runtime.common.audio import FloatArray
from voxraga_runtime.common.errors import InvalidRequest

RATE = 16_000  # Hz; what recognisers take
CONTAINERS = "wav,w64,mp3,ogg,flac,aac,aiff,caf,amr,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm"
CODECS = ",".join(
    (
        *("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_u8", "pcm_s8"),
        *("pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_alaw", "pcm_mulaw", "adpcm_ima_wav", "adpcm_ms"),
        *("mp3", "mp3float", "aac", "aac_latm", "opus", "libopus", "vorbis", "libvorbis", "flac", "alac"),
        *("amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb"),
    )
)
OPTIONS = {"format_whitelist": CONTAINERS, "codec_whitelist": CODECS, "protocol_whitelist": "none"}
LOWEST_RATE, HIGHEST_RATE = 4_000, 384_000  # Hz; far off, resampling one frame would take gigabytes
MOST_CHANNELS = 16


def decode(file: BinaryIO, longest: float) -> FloatArray:
    """The samples of a recording of at most `longest` seconds. Raises InvalidRequest that says what is wrong."""
    try:
        with av.open(file, "r", options=OPTIONS, metadata_errors="ignore") as container:
            pieces = _decoded(container, longest)
    except (av.FFmpegError, ValueError, IndexError, OverflowError) as error:
        raise _bad(f"it can't be read as audio ({_reason(error)})") from None
    samples = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)
    if not len(samples):
        raise _bad("it holds no sound")
    return np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)


def _decoded(container: Any, longest: float) -> list[FloatArray]:
    if not container.streams.audio:
        raise _bad("it has no audio track")
    stream = container.streams.audio[0]
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    pieces: list[FloatArray] = []
    size = 0
    for frame in container.decode(stream):
        if not LOWEST_RATE <= frame.sample_rate <= HIGHEST_RATE or frame.layout.nb_channels > MOST_CHANNELS:
            raise _bad(f"{frame.layout.nb_channels} channels at {frame.sample_rate} Hz are not supported")
        for resampled in resampler.resample(frame):
            pieces.append(_samples(resampled))
            size += len(pieces[-1])
        if size > longest * RATE:
            raise InvalidRequest(
                f"file is longer than {longest:g} s, which is the most allowed", param="file", code="audio_too_long"
            )
    if pieces:
        pieces += [_samples(rest) for rest in resampler.resample(None)]
    return pieces


def _samples(frame: av.AudioFrame) -> FloatArray:
    return np.asarray(frame.to_ndarray(), dtype=np.float32).reshape(-1)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or type(error).__name__)


def _bad(reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"file is not a recording that can be transcribed: {reason}", param="file", code="invalid_audio"
    )
