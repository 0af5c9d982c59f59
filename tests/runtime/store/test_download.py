"""The downloader against a host that breaks off, refuses, waits, redirects and changes its mind."""

import hashlib
import random
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.store.conftest import Fetch
from tests.runtime.store.host import CHUNK, Host
from voxraga_runtime.store.download import Downloader, Progress
from voxraga_runtime.store.errors import StoreError
from voxraga_runtime.store.http import Http, retry_after, shown
from voxraga_runtime.store.listing import Remote

CONTENT = random.Random(1).randbytes(400_000)
OTHER = random.Random(2).randbytes(400_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def downloader(folder: Path, *, attempts: int = 3, timeout: float = 5) -> Downloader:
    return Downloader(Http(attempts=attempts, backoff=0.01, timeout=timeout), folder, Progress())


def get(folder: Path, url: str, **more: Any) -> bytes:
    kinds = {name: more.pop(name) for name in ("attempts", "timeout") if name in more}
    loader = downloader(folder, **kinds)
    with loader.http:
        return loader.fetch(Remote("model.pth", url, **more)).read_bytes()


def failure(folder: Path, url: str, **more: Any) -> StoreError:
    with pytest.raises(StoreError) as caught:
        get(folder, url, **more)
    return caught.value


def test_a_file_in_one_piece(tmp_path: Path, host: Host) -> None:
    assert get(tmp_path, host.put("/m", CONTENT), sha256=SHA256, size=len(CONTENT)) == CONTENT
    assert host.sent == len(CONTENT)


def test_a_cut_download_goes_on_where_it_stopped(tmp_path: Path, host: Host) -> None:
    url = host.put("/m", CONTENT, faults=[{"cut": 100_000}, {"cut": 150_000}])
    assert get(tmp_path, url, sha256=SHA256) == CONTENT
    assert [request.status for request in host.requests] == [200, 206, 206]
    assert host.sent == len(CONTENT), "not one byte twice"


def test_a_later_run_goes_on_too(tmp_path: Path, host: Host) -> None:
    url = host.put("/m", CONTENT, faults=[{"cut": 200_000}])
    assert failure(tmp_path, url, attempts=1).reason == "SourceUnreachable"
    assert get(tmp_path, url) == CONTENT
    assert host.sent == len(CONTENT)


def test_a_complete_file_is_not_downloaded_again(tmp_path: Path, host: Host) -> None:
    url = host.put("/m", CONTENT)
    get(tmp_path, url)
    assert get(tmp_path, url) == CONTENT
    assert [request.status for request in host.requests] == [200, 304]
    assert get(tmp_path, url, sha256=SHA256) == CONTENT
    assert len(host.requests) == 2, "a hash needs nobody to be asked"


def test_a_complete_file_that_changed_is_downloaded_again(tmp_path: Path, host: Host) -> None:
    url = host.put("/m", CONTENT)
    get(tmp_path, url)
    host.put("/m", OTHER)
    assert get(tmp_path, url) == OTHER


def test_a_file_that_changed_meanwhile_is_not_glued_together(tmp_path: Path, host: Host) -> None:
    url = host.put("/m", CONTENT, faults=[{"cut": 200_000}])
    failure(tmp_path, url, attempts=1)
    host.put("/m", OTHER)
    assert get(tmp_path, url) == OTHER


def test_without_a_validator_nothing_is_resumed(tmp_path: Path, host: Host) -> None:
    url = host.put("/m", CONTENT, faults=[{"cut": 200_000}], etag=False)
    assert get(tmp_path, url) == CONTENT
    assert [request.status for request in host.requests] == [200, 200]


def test_a_hash_is_validator_enough(tmp_path: Path, host: Host) -> None:
    url = host.put("/m", CONTENT, faults=[{"cut": 200_000}], etag=False)
    assert get(tmp_path, url, sha256=SHA256) == CONTENT
    assert host.sent == len(CONTENT)


def test_a_wrongly_joined_file_is_downloaded_whole_before_anybody_is_blamed(tmp_path: Path, host: Host) -> None:
    url = host.put("/m", OTHER, faults=[{"cut": 200_000}], etag=False)
    failure(tmp_path, url, attempts=1, sha256=SHA256)
    host.put("/m", CONTENT, etag=False)
    assert get(tmp_path, url, sha256=SHA256) == CONTENT


def test_a_host_without_ranges_is_asked_for_the_whole(tmp_path: Path, host: Host) -> None:
    url = host.put("/m", CONTENT, faults=[{"cut": 200_000}], ranges=False)
    assert get(tmp_path, url) == CONTENT


def test_a_weak_etag_is_not_trusted_for_ranges(tmp_path: Path, host: Host) -> None:
    url = host.put("/m", CONTENT, etag=False, headers={"ETag": 'W/"1"'}, faults=[{"cut": 200_000}])
    assert get(tmp_path, url) == CONTENT
    assert [request.status for request in host.requests] == [200, 200]


def test_last_modified_will_do(tmp_path: Path, host: Host) -> None:
    modified = formatdate(0, usegmt=True)
    url = host.put("/m", CONTENT, etag=False, headers={"Last-Modified": modified}, faults=[{"cut": 200_000}])
    get(tmp_path, url)
    assert host.requests[1].headers["if-range"] == modified


def test_a_shorter_file_than_before_is_begun_anew(tmp_path: Path, host: Host) -> None:
    short = CONTENT[:1000]
    url = host.put("/m", CONTENT, etag=False, faults=[{"cut": 200_000}])
    failure(tmp_path, url, attempts=1, sha256=hashlib.sha256(short).hexdigest())
    host.put("/m", short, etag=False)
    assert get(tmp_path, url, sha256=hashlib.sha256(short).hexdigest()) == short
    assert 416 in [request.status for request in host.requests]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_passing_fault_is_passed_over(tmp_path: Path, host: Host, status: int) -> None:
    assert get(tmp_path, host.put("/m", CONTENT, faults=[{"status": status}] * 2)) == CONTENT


@pytest.mark.parametrize(
    ("status", "reason", "requests"),
    [
        (401, "SourceForbidden", 1),
        (403, "SourceForbidden", 1),
        (404, "SourceNotFound", 1),
        (410, "SourceNotFound", 1),
        (400, "SourceUnreachable", 1),
        (503, "SourceUnreachable", 3),
    ],
)
def test_a_lasting_fault_has_its_reason(tmp_path: Path, host: Host, status: int, reason: str, requests: int) -> None:
    error = failure(tmp_path, host.put("/m?token=hidden", CONTENT, faults=[{"status": status}] * 9))
    assert (error.reason, error.retriable) == (reason, requests > 1)
    assert "127.0.0.1" in error.message
    assert str(status) in error.message
    assert "hidden" not in error.message
    assert len(host.requests) == requests


def test_retry_after_is_obeyed(tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("voxraga_runtime.store.http.time.sleep", waits.append)
    url = host.put("/m", CONTENT, faults=[{"status": 429, "headers": {"Retry-After": "7"}}, {"status": 503}])
    get(tmp_path, url)
    assert 7.0 in waits


@pytest.mark.parametrize(
    ("value", "seconds"), [(None, None), ("", None), ("3", 3.0), ("soon", None), (formatdate(0, usegmt=True), 0.0)]
)
def test_retry_after_values(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


def test_a_silent_host_times_out(tmp_path: Path, host: Host) -> None:
    url = host.put("/m", CONTENT, faults=[{"delay": 1.0}] * 2)
    error = failure(tmp_path, url, attempts=2, timeout=0.1)
    assert (error.reason, error.retriable) == ("SourceTimeout", True)


def test_a_stalled_download_is_resumed(tmp_path: Path, host: Host) -> None:
    url = host.put("/m", CONTENT, faults=[{"pace": 2.0}])
    assert get(tmp_path, url, timeout=1.0) == CONTENT
    assert host.requests[1].status == 206


def test_an_unreachable_host_is_named(tmp_path: Path) -> None:
    error = failure(tmp_path, "http://127.0.0.1:9/model.pth", attempts=2)
    assert (error.reason, error.retriable) == ("SourceUnreachable", True)
    assert "127.0.0.1:9" in error.message
    assert "2 attempts" in error.message


def test_a_host_that_does_not_exist_is_named(tmp_path: Path) -> None:
    error = failure(tmp_path, "http://models.invalid/model.pth", attempts=1)
    assert error.reason == "SourceUnreachable"
    assert "models.invalid" in error.message


def test_a_wrong_checksum_names_both_and_leaves_nothing(tmp_path: Path, host: Host) -> None:
    error = failure(tmp_path, host.put("/m", OTHER), sha256=SHA256)
    assert (error.reason, error.retriable) == ("ChecksumMismatch", False)
    assert f"model.pth is {hashlib.sha256(OTHER).hexdigest()}, expected {SHA256}" in error.message
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    host.put("/m", CONTENT)
    assert get(tmp_path, host.url + "/m", sha256=SHA256) == CONTENT


def test_a_wrong_size_is_a_mismatch(tmp_path: Path, host: Host) -> None:
    assert failure(tmp_path, host.put("/m", CONTENT), size=5).reason == "ChecksumMismatch"


def test_credentials_stay_with_their_host(tmp_path: Path, host: Host) -> None:
    host.put("/far", CONTENT)
    url = host.put(
        "/m", b"", faults=[{"status": 302, "headers": {"Location": host.other_url + "/far"}}], needs="Bearer t"
    )
    assert get(tmp_path, url, headers={"Authorization": "Bearer t"}) == CONTENT
    assert host.to("/m")[0].headers["authorization"] == "Bearer t"
    assert "authorization" not in host.to("/far")[0].headers


def test_credentials_go_along_on_the_same_host(tmp_path: Path, host: Host) -> None:
    host.put("/near", CONTENT, needs="Bearer t")
    url = host.put("/m", b"", faults=[{"status": 302, "headers": {"Location": "/near"}}])
    assert get(tmp_path, url, headers={"Authorization": "Bearer t"}) == CONTENT


def test_a_redirect_without_end_is_an_error(tmp_path: Path, host: Host) -> None:
    url = host.put("/m", b"", faults=[{"status": 302, "headers": {"Location": "/m"}}] * 20)
    assert failure(tmp_path, url).reason == "SourceUnreachable"


def test_a_redirect_to_a_file_is_refused(tmp_path: Path, host: Host) -> None:
    url = host.put("/m", b"", faults=[{"status": 302, "headers": {"Location": "file:///etc/passwd"}}])
    assert failure(tmp_path, url).reason == "SourceUnreachable"


def test_a_url_is_shown_without_its_secrets() -> None:
    assert shown("https://user:password@host:8443/a/b?signature=1#x") == "https://host:8443/a/b"


def test_progress_is_logged(tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, Any]] = []
    monkeypatch.setattr("voxraga_runtime.store.download.PROGRESS_EVERY", 0.0)
    monkeypatch.setattr("voxraga_runtime.store.download.log.info", lambda _, **more: said.append(more), raising=False)
    loader = Downloader(Http(), tmp_path, Progress(total=len(CONTENT)))
    with loader.http:
        loader.fetch(Remote("model.pth", host.put("/m", CONTENT)))
    assert said[-1]["percent"] == 100


def test_a_failed_fetch_resumes_in_the_next_job(run: Fetch, host: Host) -> None:
    faults = [{"cut": 10 * CHUNK}] + [{"status": 503}] * 3
    source = {"http": {"files": [{"url": host.put("/model.pth", CONTENT, faults=faults)}]}}
    first = run(source)
    assert (first.code, first.message["reason"], first.message["retriable"]) == (1, "SourceUnreachable", True)
    second = run(source)  # the bytes are no model, but they are all there
    assert second.message["reason"] == "InvalidModel"
    assert host.sent == len(CONTENT)
