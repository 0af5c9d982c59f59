"""`voxraga bench` against a real server on loopback: what it sends, counts, and says."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.operator.cli.bench.speaking import SECOND, Request, speaking
from voxraga_operator.cli import command
from voxraga_operator.cli.bench import ask, audio, load
from voxraga_operator.cli.failure import Failure

Told = pytest.CaptureFixture[str]


def bench(url: str, *options: str) -> int:
    return command.main(["bench", "--url", url, *options])


def measured(told: Told) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(told.readouterr().out)
    return found


def test_requests_by_several_clients(capsys: Told) -> None:
    with speaking() as server:
        assert bench(server.url, "--requests", "50", "--clients", "3", "--json") == 0
    found = measured(capsys)
    assert found["url"] == f"{server.url}/v1/audio/speech"
    figures = found["figures"]
    assert (figures["requests"], figures["spoken"], figures["audio"], figures["success"]) == (50, 50, 50.0, 1.0)
    assert figures["audio_per_second"] == pytest.approx(figures["per_second"])
    assert [aim["name"] for aim in found["targets"]] == ["first audio, p95", "success", "real-time factor, p95"]
    assert len(server.asked) == 51  # the first one isn't counted
    assert len(set(server.texts)) == 51
    assert len({each.port for each in server.asked}) == 4  # connections are kept


def test_what_is_sent(tmp_path: Path, capsys: Told) -> None:
    key = tmp_path / "key"
    key.write_text("\n sk-secret \nsk-other\n")
    options = ["--voice", "anna", "--model", "narrator", "--format", "wav", "--key-file", str(key)]
    with speaking(lambda request, _: request.whole(b"")) as server:
        assert bench(f"{server.url}/speech/v1/", *options, "--requests", "1") == 1
    sent = server.asked[0]
    assert sent.path == "/speech/v1/audio/speech"
    assert sent.headers["Authorization"] == "Bearer sk-secret"
    assert sent.body == {"model": "narrator", "voice": "anna", "response_format": "wav", "input": sent.body["input"]}
    told = capsys.readouterr()
    assert "the first request failed: the answer holds no audio" in told.err
    assert "sk-secret" not in told.out + told.err


def test_seconds_end_a_run_and_a_request_under_way_is_waited_for(capsys: Told) -> None:
    with speaking() as server:
        assert bench(server.url, "--seconds", "0.2", "--clients", "2", "--json") == 0
    figures = measured(capsys)["figures"]
    assert figures["spoken"] == figures["requests"] == len(server.asked) - 1 > 0


def test_texts_of_a_file_are_taken_in_turn(tmp_path: Path, capsys: Told) -> None:
    texts = tmp_path / "texts"
    texts.write_text("Guten Tag.\n\n  Wie geht es?\n", encoding="utf-8")
    with speaking() as server:
        assert bench(server.url, "--text", str(texts), "--requests", "3", "--clients", "1") == 0
    assert server.texts == ["Guten Tag.", "Wie geht es?", "Guten Tag.", "Wie geht es?"]
    assert "has 2 lines for 3 requests: the server may have kept answers" in capsys.readouterr().err


def test_first_audio_is_taken_as_it_comes(monkeypatch: pytest.MonkeyPatch, capsys: Told) -> None:
    heard = threading.Event()
    take = audio.Pcm.take

    def taken(self: audio.Pcm, data: bytes) -> None:
        take(self, data)
        heard.set()

    def answer(request: Request, _: int) -> None:
        heard.clear()
        request.begin()
        request.piece(SECOND)
        if heard.wait(30):  # the rest comes only after the client has taken the first piece
            request.piece(SECOND)
            request.piece(b"")
        else:
            request.close_connection = True

    monkeypatch.setattr(audio.Pcm, "take", taken)
    with speaking(answer) as server:
        assert bench(server.url, "--requests", "3", "--clients", "1", "--json") == 0
    figures = measured(capsys)["figures"]
    assert (figures["spoken"], figures["audio"]) == (3, 6.0)
    assert 0 < figures["first_audio"]["p50"] < figures["whole"]["p50"]


def test_refusals_errors_and_answers_are_told_apart(monkeypatch: pytest.MonkeyPatch, capsys: Told) -> None:
    def answer(request: Request, turn: int) -> None:
        match turn:
            case 1:
                request.error(429, "the queue is full", Retry_After="0")
            case 2:
                request.error(503, "loading", Retry_After="0")
            case 3:
                request.error(500, "the model failed")
            case 4:
                request.whole(SECOND[:100], Content_Length=str(len(SECOND)))
                request.close_connection = True
            case 5:
                request.begin()
                request.piece(SECOND)
                request.close_connection = True
            case 6:
                request.whole(b"<html>", Content_Type="text/html")
            case _:
                request.whole(SECOND)

    monkeypatch.setattr(load, "AFTER_ERROR", 0.0)
    with speaking(answer) as server:
        assert bench(server.url, "--requests", "8", "--clients", "1") == 0
    lines = capsys.readouterr().out.splitlines()[2:10]
    assert lines[0] == "requests        8"
    assert lines[1].startswith("spoken          2 ")
    assert lines[2:4] == ["refused         2  1 with 429, 1 with 503", "errors          4"]
    assert sorted(line.strip() for line in lines[4:7]) == [
        "1  500: the model failed",
        "1  the answer is text/html, not audio",
        "2  the answer was cut off",
    ]


def test_a_refused_caller_waits_as_it_is_asked_to() -> None:
    def answer(request: Request, turn: int) -> None:
        if turn == 1:
            request.error(429, "come again", Retry_After="3600")
        else:
            request.whole(SECOND)

    with speaking(answer) as server:
        assert bench(server.url, "--seconds", "0.2", "--clients", "1") == 1  # nothing was spoken
    assert len(server.asked) == 2


def test_a_kept_connection_that_the_server_has_closed_is_no_error(capsys: Told) -> None:
    def answer(request: Request, _: int) -> None:
        request.whole(SECOND)
        request.close_connection = True  # without having said so

    with speaking(answer) as server:
        assert bench(server.url, "--requests", "5", "--clients", "1", "--json") == 0
    assert measured(capsys)["figures"]["spoken"] == 5


@pytest.mark.parametrize("turn", [0, 2])
def test_a_wrong_request_ends_the_run_with_what_the_server_says(turn: int, capsys: Told) -> None:
    def answer(request: Request, current: int) -> None:
        if current >= turn:
            request.error(400, "no voice is called 'zoe'")
        else:
            request.whole(SECOND)

    with speaking(answer) as server:
        assert bench(server.url, "--seconds", "600", "--voice", "zoe") == 2
    told = capsys.readouterr()
    assert f"{server.url}/v1/audio/speech answers 400: no voice is called 'zoe'" in told.err
    assert told.out == ""


def test_a_server_that_moved(capsys: Told) -> None:
    with speaking(lambda request, _: request.whole(b"", 308, Location="https://a/v1/audio/speech")) as server:
        assert bench(server.url) == 2
    assert (
        "answers 308: no reason given; it is at https://a/v1/audio/speech, say so by --url" in capsys.readouterr().err
    )


def test_a_server_that_is_not_there(capsys: Told) -> None:
    with speaking() as server:
        url = server.url
    assert bench(url) == 1
    assert "the first request failed: Connection refused" in capsys.readouterr().err


def test_ctrl_c_prints_what_was_measured_until_then() -> None:
    waiting, over = threading.Event(), threading.Event()

    def answer(request: Request, turn: int) -> None:
        if turn == 5:
            waiting.set()
            over.wait(60)
            request.close_connection = True
        else:
            request.whole(SECOND)

    with speaking(answer) as server:
        options = ["bench", "--url", server.url, "--clients", "1", "--seconds", "600", "--json"]
        program = [sys.executable, "-m", "voxraga_operator.cli", *options]
        with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert waiting.wait(60)
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=60)
            finally:
                process.kill()
                over.set()
    assert process.returncode == 0
    assert err == "voxraga: interrupted: what was measured until then\n"
    figures = json.loads(out)["figures"]
    assert (figures["requests"], figures["spoken"], figures["errors"]) == (4, 4, {})
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a", "http://a/v1/audio/speech"),
        ("http://a:8080/", "http://a:8080/v1/audio/speech"),
        ("https://a/v1", "https://a/v1/audio/speech"),
        ("http://[::1]:80/v1/audio/speech", "http://[::1]:80/v1/audio/speech"),
        ("https://a/narrator/v1/", "https://a/narrator/v1/audio/speech"),
    ],
)
def test_addresses(url: str, expected: str) -> None:
    assert ask.endpoint(url) == expected


@pytest.mark.parametrize("url", ["a:8080", "ftp://a", "http://", "http://a:99999", "http://me:key@a", "http://a?key=k"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(Failure, match="--url"):
        ask.endpoint(url)


@pytest.mark.parametrize(
    ("option", "content", "told"),
    [
        ("--key-file", None, "No such file"),
        ("--key-file", b"\n\n", "there is nothing in it"),
        ("--key-file", b"two words", "its first line is no key"),
        ("--text", b"", "there is nothing in it"),
        ("--text", b"\xff\xfe\x00", "it is no UTF-8 text"),
    ],
)
def test_files_that_hold_something_else(
    option: str, content: bytes | None, told: str, tmp_path: Path, capsys: Told
) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    assert bench("http://127.0.0.1:1", option, str(file)) == 2
    assert f"{option} {file}: {told}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--clients", "0"], ["--requests", "x"], ["--seconds", "nan"], ["--seconds", "1", "--requests", "1"]]
)
def test_options_that_cannot_be(options: list[str], capsys: Told) -> None:
    with pytest.raises(SystemExit):
        bench("http://127.0.0.1:1", *options)
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error": {"message": "too long"}}', "too long"),
        (b'{"error": "too long"}', "too long"),
        (b'{"detail": [{"msg": "missing"}]}', "[{'msg': 'missing'}]"),
        (b"<p>Bad\n gateway</p>", "<p>Bad gateway</p>"),
        (b"", "no reason given"),
        (b"x" * 400, "x" * 300 + "…"),
    ],
)
def test_what_an_error_says(body: bytes, expected: str) -> None:
    assert ask.message(body) == expected
