"""make demo: a cluster, the operator, a VoiceModel, and its voice in demo.wav; every step with its time."""

import time
from pathlib import Path

from tests.e2e import clusters, steps
from tests.e2e.kube import Kube
from tests.speech import audio, judge
from tests.speech.sentences import HARVARD

NAMESPACE = "speech"
SENTENCE = "Kick the ball straight and follow through."

NEXT = """
Try next (export KUBECONFIG={kubeconfig}):
  kubectl -n speech get voicemodels -o wide                # what is ready, where, and if not, why
  kubectl -n speech describe voicemodel narrator               # the story so far
  kubectl -n speech scale voicemodel narrator --replicas=2
  kubectl -n speech port-forward service/narrator 8080:80 &
  curl localhost:8080/v1/audio/speech -d '{{"model":"narrator","input":"Hello","voice":"slt"}}' > hello.mp3
  kubectl explain voicemodel.spec --recursive
  make down                                                # ends the cluster and leaves nothing behind
"""


def say(line: str) -> None:
    print(f"demo: {line}", flush=True)


def speak(kube: Kube, out: Path) -> None:
    """Synthesize one sentence through the Service, write it, and say what a recogniser hears in it."""
    with steps.forwarded(kube, "narrator") as url:
        begun = time.monotonic()
        wav = steps.speech(url, model="narrator", input=SENTENCE, response_format="wav")
        took = time.monotonic() - begun
    out.write_bytes(wav)
    samples, rate = audio.read(wav)
    heard = judge.named(samples, rate, HARVARD)
    say(f"{out.name}: {len(samples) / rate:.1f} s of speech in {took:.2f} s; a recogniser hears: {heard}")
    if heard != SENTENCE.rstrip("."):
        raise SystemExit(f"demo: asked for {SENTENCE!r}")


def main() -> None:
    begun = time.monotonic()
    site = clusters.prepare()
    say(f"cluster and images after {time.monotonic() - begun:.0f} s")
    steps.install(site.kube, site.images)
    say(f"operator runs after {time.monotonic() - begun:.0f} s")
    site.kube.apply(steps.restricted_namespace(NAMESPACE))
    speech = site.kube.within(NAMESPACE)
    speech("apply", "-f", str(steps.EXAMPLE))
    steps.until_ready(speech, "narrator", say)
    print(speech("get", "voicemodels"))
    speak(speech, Path("demo.wav"))
    say(f"done in {time.monotonic() - begun:.0f} s")
    print(NEXT.format(kubeconfig=site.kubeconfig or "yours"))


if __name__ == "__main__":
    main()
