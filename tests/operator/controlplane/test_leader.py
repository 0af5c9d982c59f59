"""Leader election on a real Lease."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.cluster.controlplane import ControlPlane
from voxraga_operator.cluster import Cluster
from voxraga_operator.leader import Elector, LeaseLostError, Terms

pytestmark = pytest.mark.controlplane

FAST = Terms(duration=4.0, deadline=2.5, retry=0.2)  # a busy machine is away for a second at times


class Candidates:
    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.exits: list[int] = []

    def named(self, identity: str, cluster: Cluster | None = None) -> Elector:
        return Elector(
            cluster or self.cluster,
            namespace=self.namespace,
            identity=identity,
            terms=FAST,
            exit_process=self.exits.append,
        )

    async def lease(self) -> dict[str, Any]:
        lease = await self.cluster.get("Lease", self.namespace, "voxraga-operator")
        assert lease is not None
        spec: dict[str, Any] = lease["spec"]
        return spec


@pytest.fixture
def candidates(cluster: Cluster, namespace: str) -> Candidates:
    return Candidates(cluster, namespace)


@pytest.fixture
async def cut_off(installed: ControlPlane) -> AsyncIterator[Cluster]:
    """A client of its own, whose line can be cut."""
    client = await Cluster.connect(str(installed.kubeconfig))
    yield client
    await client.close()


async def test_the_first_leads_and_the_second_waits_until_it_is_released(candidates: Candidates) -> None:
    first, second = candidates.named("first"), candidates.named("second")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(1.5 * FAST.duration)
    assert not waiting.done()
    assert not holding.done()
    holding.cancel()
    await first.release()
    await asyncio.wait_for(waiting, FAST.duration / 2)  # not after the lease's time
    spec = await candidates.lease()
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("second", 1)
    assert (first.leading, second.leading) == (False, True)
    await second.release()
    assert candidates.exits == []


async def test_of_many_that_start_at_once_one_leads(candidates: Candidates) -> None:
    electors = [candidates.named(str(number)) for number in range(8)]
    tasks = [asyncio.create_task(elector.acquire()) for elector in electors]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait(tasks, timeout=1.0, return_when=asyncio.ALL_COMPLETED)
    assert sum(elector.leading for elector in electors) == 1
    for elector in electors:
        await elector.release()


async def test_a_holder_that_died_is_followed_after_its_time(candidates: Candidates) -> None:
    dead, heir = candidates.named("dead"), candidates.named("heir")
    await dead.acquire()
    dead._stop_watchdog()
    started = asyncio.get_running_loop().time()
    await asyncio.wait_for(heir.acquire(), 3 * FAST.duration)
    assert asyncio.get_running_loop().time() - started > FAST.duration
    await heir.release()


async def test_a_holder_that_is_cut_off_gives_up_before_another_may_lead(
    candidates: Candidates, cut_off: Cluster
) -> None:
    holder, heir = candidates.named("holder", cut_off), candidates.named("heir")
    await holder.acquire()
    holding = asyncio.create_task(holder.hold())
    waiting = asyncio.create_task(heir.acquire())
    await asyncio.sleep(1.0)
    cut_off._configuration.host = cut_off._client.configuration.host = "https://127.0.0.1:9"  # nobody listens there
    with pytest.raises(LeaseLostError):
        await asyncio.wait_for(holding, 2 * FAST.duration)
    assert not waiting.done()
    await holder.release()  # the process has stopped by then, or its watchdog ends it
    await asyncio.wait_for(waiting, 2 * FAST.duration)
    await heir.release()
    assert candidates.exits == []


async def test_a_lease_that_was_taken_by_force_is_given_up_at_once(candidates: Candidates) -> None:
    holder = candidates.named("holder")
    await holder.acquire()
    holding = asyncio.create_task(holder.hold())
    await candidates.cluster.merge(
        "Lease", candidates.namespace, "voxraga-operator", {"spec": {"holderIdentity": "robber"}}
    )
    with pytest.raises(LeaseLostError, match="another process"):
        await asyncio.wait_for(holding, FAST.duration / 2)
    await holder.release()
    assert (await candidates.lease())["holderIdentity"] == "robber"


async def test_the_watchdog_ends_a_process_whose_loop_hangs(candidates: Candidates) -> None:
    holder = candidates.named("holder")
    await holder.acquire()
    # Nothing renews, as when the loop hangs; in the process this would be its end.
    await asyncio.sleep(FAST.duration)
    assert candidates.exits == [3]
