"""The page at /, in a real browser: somebody types, chooses, listens, and reads the figures."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.runtime.server.browser import Browser, browser, missing
from tests.runtime.server.engine import ToneEngine
from tests.runtime.server.harness import Running, running
from tests.runtime.server.test_timestamps import WordEngine
from tests.speech.audio import read, read_pcm
from voxraga_runtime.common.encoding import FORMATS
from voxraga_runtime.server.routes.page import PAGE

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PLAYS = "live && live.position > 0.3"  # by the clock of the sound card, or of what stands for it


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if lacks := missing():
        pytest.skip("browser: no " + ", no ".join(lacks) + " (scripts/setup installs them)")
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def test_the_page_needs_nothing_from_elsewhere() -> None:
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", PAGE)
    assert not re.findall(r"@import|url\(|import\(", PAGE)
    assert " on" + "click" not in PAGE  # the policy allows no handlers in attributes


def test_who_gets_what_at_the_root(server: Running) -> None:
    page = server.client.get("/", headers=HTML)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    for accept in ("application/json", "*/*"):
        facts = server.client.get("/", headers={"Accept": accept})
        assert (facts.status_code, facts.json()["model"], facts.headers["vary"]) == (200, "narrator", "Accept")
    assert server.client.head("/").status_code == 200
    assert server.client.get("/docs").status_code == 404


def opened(chromium: Browser, server: Running) -> None:
    chromium.open(server.url)
    chromium.wait("document.querySelectorAll('#voice option').length === 2")


def half_spoken(chromium: Browser, tones: ToneEngine, server: Running) -> None:
    """The first sentence plays, the second one isn't begun."""
    opened(chromium, server)
    tones.gated_from = 1
    tones.gate.clear()
    chromium.type("#text", "This sentence is made at once, and it is long. This one waits.")
    chromium.click("#speak")
    chromium.wait(PLAYS)


@pytest.mark.browser
def test_somebody_listens(chromium: Browser, server: Running) -> None:
    opened(chromium, server)
    chromium.type("#text", "Good morning from the page. This is the second sentence.")
    chromium.run("document.getElementById('voice').value = 'high';")
    chromium.click("#speak")
    chromium.wait(PLAYS)
    chromium.wait("Number(document.getElementById('rtf').textContent) > 0")
    shown = {name: chromium.text(f"#{name}") for name in ("first", "total", "seconds", "rtf", "gaps")}
    assert re.fullmatch(r"\d+ ms|\d\.\d\d s", shown["first"])
    assert re.fullmatch(r"\d+ ms|\d\.\d\d s", shown["total"])
    assert float(shown["seconds"].removesuffix(" s")) == pytest.approx(2.93, abs=0.1)
    assert 0 < float(shown["rtf"]) < 5
    assert drawn(chromium) > 0.5
    assert chromium.text("#state") == f"2.9 seconds of speech, first audio after {shown['first']}"
    # the pieces follow one another without a gap, but where the server was late
    ends = chromium.run("return live.pieces.map(p => [p.when, p.when + p.seconds])")
    late = sum(later[0] - sooner[1] > 1e-6 for sooner, later in pairwise(ends))
    assert late == int(shown["gaps"])
    # what was heard can be heard again
    chromium.wait("!live.playing && document.getElementById('stop').disabled")
    chromium.run("document.getElementById('audio').play();")
    chromium.wait("document.getElementById('audio').currentTime > 0.3")
    assert chromium.run("return document.getElementById('audio').duration") == pytest.approx(2.93, abs=0.1)
    assert chromium.console() == []


@pytest.mark.browser
def test_it_is_heard_while_it_is_made(chromium: Browser, tones: ToneEngine, server: Running) -> None:
    """The second sentence isn't begun before the first one plays."""
    half_spoken(chromium, tones, server)
    assert (chromium.text("#total"), tones.spoken) == ("–", 3)  # with the warm-up's two
    assert drawn(chromium) > 0.5
    assert chromium.run("return document.getElementById('stop').disabled") is False
    tones.gate.set()
    chromium.wait("Number(document.getElementById('rtf').textContent) > 0")


@pytest.mark.browser
def test_stop_means_at_once(chromium: Browser, tones: ToneEngine, server: Running) -> None:
    half_spoken(chromium, tones, server)
    chromium.click("#stop")
    chromium.wait("live.context.state === 'closed' && !document.getElementById('speak').disabled")
    server.wait_health(in_flight=0)
    assert chromium.run("return document.getElementById('error').hidden")


@pytest.mark.browser
@pytest.mark.parametrize("form", FORMATS)
def test_it_can_be_saved(chromium: Browser, server: Running, form: str) -> None:
    opened(chromium, server)
    chromium.type("#text", "Good morning from the page. This is the second sentence.")
    chromium.run("document.getElementById('speed').value = 1.5;")
    chromium.click("#speak")
    chromium.wait("Number(document.getElementById('rtf').textContent) > 0")
    chromium.run("document.getElementById('format').value = arguments[0];", form)
    chromium.click("#save")
    data = chromium.downloaded(f"speech.{form}")
    audio, rate = read_pcm(data, 24000) if form == "pcm" else read(data)
    assert len(audio) / rate == pytest.approx(2.93 / 1.5, rel=0.05)
    assert chromium.text("#state") == f"speech.{form}, {len(data) / 1000:.1f} kB"
    assert chromium.console() == []


@pytest.mark.browser
def test_the_word_that_is_heard_is_marked(chromium: Browser, tmp_path: Path) -> None:
    with running(WordEngine(), tmp_path) as server:
        opened(chromium, server)
        chromium.type("#text", "Good morning. This is the second sentence.")
        chromium.click("#speak")
        chromium.wait("document.querySelector('#words .now')?.textContent === 'second'")
        words = chromium.run("return [...document.querySelectorAll('#words span')].map(w => w.textContent)")
        assert words == "Good morning This is the second sentence".split()
        chromium.wait("!live.playing && !document.querySelector('#words .now')")


def drawn(chromium: Browser) -> float:
    """The part of the waveform's width where something is drawn."""
    share: float = chromium.run(
        "const c = document.getElementById('wave'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "let columns = 0; for (let x = 0; x < c.width; x++) { let n = 0; for (let y = 0; y < c.height; y++)"
        " n += d[4 * (y * c.width + x) + 3] > 0; columns += n > c.height / 4; } return columns / c.width;"
    )
    return share


@pytest.mark.browser
def test_errors_are_shown_as_they_are(chromium: Browser, server: Running) -> None:
    opened(chromium, server)
    chromium.type("#text", "?!")
    chromium.click("#speak")
    chromium.wait("!document.getElementById('error').hidden")
    told = chromium.text("#error")
    assert "input has nothing to speak: it needs at least one letter or digit" in told
    assert "HTTP 400 · invalid_request_error · empty_input · field input" in told


@pytest.mark.browser
def test_a_key_is_asked_for_and_used(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("page-key")
    with running(ToneEngine(), tmp_path, api_keys_path=tmp_path, public_listings=False) as locked:
        chromium.open(locked.url)
        chromium.wait("!document.getElementById('error').hidden && document.activeElement.id === 'key'")
        assert "an API key is needed" in chromium.text("#error")
        chromium.type("#key", "page-key\t")
        chromium.wait("document.querySelectorAll('#voice option').length === 2")
        assert chromium.run("return document.getElementById('error').hidden")
        chromium.click("#speak")
        chromium.wait(PLAYS)


@pytest.mark.browser
def test_it_works_by_keyboard_and_has_names_for_everything(chromium: Browser, server: Running) -> None:
    opened(chromium, server)
    unnamed = chromium.run(
        "return [...document.querySelectorAll('input, select, textarea')].filter(e => !e.labels.length).map(e => e.id)"
    )
    assert unnamed == []
    chromium.type("#text", "By keyboard alone.\ue009\ue007")  # Control + Enter
    chromium.wait(PLAYS)


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_light_and_dark(chromium: Browser, server: Running, dark: bool) -> None:
    chromium.dark(dark)
    chromium.open(server.url)
    colours = "const s = getComputedStyle(arguments[0] ? document.querySelector(arguments[0]) : document.body);"
    for selector, back in (("main", "body"), ("#speak", "#speak"), (".hint", "body"), ("#about", "body")):
        text = chromium.run(colours + "return s.color", selector)
        behind = chromium.run(colours + "return s.backgroundColor", back)
        assert contrast(text, behind) >= 4.5, (selector, text, behind)
    chromium.dark(False)


def contrast(one: str, other: str) -> float:
    """WCAG's ratio of two colours."""

    def luminance(colour: str) -> float:
        values = [int(v) / 255 for v in re.findall(r"\d+", colour)[:3]]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
