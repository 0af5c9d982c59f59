"""One file, two places: the pod that the operator makes and `voxraga serve` answer a request with the same samples."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.kube import Kube
from tests.e2e.speaker import speak
from tests.operator.cli.served import served, spoken
from tests.speech import audio
from tests.speech.sentences import HARVARD

pytestmark = pytest.mark.node

ASKED: dict[str, dict[str, Any]] = {
    "wav": {"response_format": "wav"},
    "flac, the other voice, faster": {"response_format": "flac", "voice": "slt", "speed": 1.3},
    "another sample rate, slower": {"response_format": "wav", "sample_rate": 48000, "speed": 0.8},
    "raw samples": {"response_format": "pcm"},
    "streamed": {"response_format": "wav", "stream": True},
}
TEXT = f"{HARVARD[3]}. {HARVARD[7]}, at 10:30!"


def test_the_pod_and_the_command_give_the_same_samples(speaking: Kube, url: str, tmp_path: Path) -> None:
    requests = [{"model": "narrator", "input": TEXT, "seed": 7, **asked} for asked in ASKED.values()]
    by_pod = speak(speaking, url, requests)
    with served(tmp_path) as command:
        by_command = [spoken(command.url, **request) for request in requests]
    for name, pod, here in zip(ASKED, by_pod, by_command, strict=True):
        assert pod.status == 200, (name, pod.body)
        there, ours = samples(pod.body, name), samples(here, name)
        assert len(there) > 2 * 16000, name
        assert np.array_equal(there, ours), (
            f"{name}: {np.abs(there - ours).max() if len(there) == len(ours) else 'length'}"
        )


def samples(body: bytes, name: str) -> audio.Mono:
    decoded, _ = audio.read_pcm(body, 24000) if name == "raw samples" else audio.read(body)
    return decoded
