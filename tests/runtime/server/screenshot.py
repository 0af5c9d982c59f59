"""The picture of the page in the documentation: python -m tests.runtime.server.screenshot (needs the demo voice)."""

import tempfile
from pathlib import Path

from tests.runtime.server.browser import browser
from tests.runtime.server.harness import running
from voxraga_runtime.common import logs
from voxraga_runtime.server.engines.coqui import CoquiEngine

ROOT = Path(__file__).parents[3]
PICTURE = ROOT / "docs/images/page.png"
VOICE = ROOT / "runtime/voxraga_runtime/voices/demo"


def main() -> None:
    """Speak with the demo voice, and take the picture once something was heard."""
    logs.setup("warning")
    with tempfile.TemporaryDirectory() as scratch, running(lambda: CoquiEngine(VOICE, "cpu"), VOICE) as server:
        speak = {"input": "The first answer is slower than the others."}
        server.client.post("/v1/audio/speech", json=speak).raise_for_status()
        with browser(Path(scratch)) as page:
            page.open(server.url)
            page.wait("document.querySelectorAll('#voice option').length && document.title !== 'vox-raga'")
            page.click("#speak")
            page.wait("live && live.position > 2.5 && document.getElementById('rtf').textContent > 0")
            page.run("live.context.suspend(); document.activeElement.blur();")
            PICTURE.parent.mkdir(exist_ok=True)
            page.screenshot(PICTURE)


if __name__ == "__main__":
    main()
