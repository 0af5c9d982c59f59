"""Workers sized from the container's CPU limit; jobs that hand bytes over."""

from pathlib import Path
from typing import Any

import pytest

from voxraga_runtime.common.settings import ServerSettings
from voxraga_runtime.server.workers import Job, Workers, cpu_limit, slots, worker_count


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu.max": "6400000 100000"}, 4),
        ({"cpu.max": "garbage"}, 4),
        ({}, 4),
    ],
)
def test_cpu_limit(files: dict[str, str], limit: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3})
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert cpu_limit(tmp_path) == limit


@pytest.mark.parametrize(("limit", "threads", "count"), [(2, 1, 2), (1.5, 1, 2), (0.2, 1, 1), (8, 4, 2), (2, 4, 1)])
def test_worker_count(limit: float, threads: int, count: int) -> None:
    assert worker_count(limit, threads) == count


@pytest.mark.parametrize(
    ("told", "count"),
    [
        ({}, 2),
        ({"max_batch": 8}, 2),
        ({"device": "cuda"}, 16),
        ({"device": "cuda", "max_batch": 4}, 4),
        ({"device": "cuda", "max_batch": 1}, 2),
        ({"device": "cuda", "max_concurrency": 3}, 3),
    ],
)
def test_slots_fill_the_cores_or_a_batch(told: dict[str, Any], count: int, tmp_path: Path) -> None:
    assert slots(ServerSettings(model_name="m", model_path=tmp_path, **told), limit=2) == count


async def test_job_hands_over_bytes_then_its_error() -> None:
    workers, job = Workers(1, lambda: None), Job()

    def work(job: Job) -> None:
        job.put(b"a")
        job.put(b"")
        job.put(b"b")
        raise ValueError("broken")

    workers.start(job, work)
    got: list[bytes] = []
    chunks = job.chunks()
    got += [await anext(chunks), await anext(chunks)]
    with pytest.raises(ValueError, match="broken"):
        await anext(chunks)
    assert got == [b"a", b"b"]
    workers.close()
