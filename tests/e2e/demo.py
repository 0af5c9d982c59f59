"""make demo: a cluster, the operator, a VoiceModel, and its voice in demo.wav; every step with its time."""

import sys
import time
from pathlib import Path

from tests.e2e import steps
from tests.e2e.clusters import node_cluster
from tests.e2e.kube import Kube
from tests.speech import audio, judge
from tests.speech.sentences import HARVARD

EXAMPLE = steps.ROOT / "manifests/examples/voicemodel.yaml"
NAMESPACE = "speech"
SENTENCE = "Kick the ball straight and follow through."

NEXT = """
Try next (export KUBECONFIG={kubeconfig}):
  kubectl -n speech get voicemodels -o wide                # what is ready, where, and if not, why
  kubectl -n speech describe voicemodel demo               # the story so far
  kubectl -n speech scale voicemodel demo --replicas=2
  kubectl -n speech port-forward service/demo 8080:80 &
  curl localhost:8080/v1/audio/speech -d '{{"model":"demo","input":"Hello","voice":"slt"}}' > hello.mp3
  kubectl explain voicemodel.spec --recursive
  make down                                                # ends the cluster and leaves nothing behind
"""


def say(line: str) -> None:
    print(f"demo: {line}", flush=True)


def speak(kube: Kube, out: Path) -> None:
    """Synthesize one sentence through the Service, write it, and say what a recogniser hears in it."""
    with steps.forwarded(kube, "demo") as url:
        begun = time.monotonic()
        wav = steps.speech(url, model="demo", input=SENTENCE, response_format="wav")
        took = time.monotonic() - begun
    out.write_bytes(wav)
    samples, rate = audio.read(wav)
    heard = judge.named(samples, rate, HARVARD)
    say(f"{out.name}: {len(samples) / rate:.1f} s of speech in {took:.2f} s; a recogniser hears: {heard}")
    if heard != SENTENCE.rstrip("."):
        raise SystemExit(f"demo: asked for {SENTENCE!r}")


def main() -> None:
    begun = time.monotonic()
    cluster = node_cluster()
    say(f"cluster and images after {time.monotonic() - begun:.0f} s")
    kube = Kube(cluster.kubeconfig, kubectl=cluster.kubectl, context=cluster.context)
    steps.install(kube, cluster.overlay)
    say(f"operator runs after {time.monotonic() - begun:.0f} s")
    kube.apply(steps.restricted_namespace(NAMESPACE))
    speech = Kube(cluster.kubeconfig, kubectl=cluster.kubectl, context=cluster.context, namespace=NAMESPACE)
    speech("apply", "-f", str(EXAMPLE))
    steps.until_ready(speech, "demo", say)
    print(speech("get", "voicemodels"))
    speak(speech, Path("demo.wav"))
    say(f"done in {time.monotonic() - begun:.0f} s")
    print(NEXT.format(kubeconfig=cluster.kubeconfig))


if __name__ == "__main__":
    sys.exit(main())
