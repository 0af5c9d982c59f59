"""Which object leads to which key, and which credentials the informer gets."""

from typing import Any

import pytest

from voxraga_operator.cluster import Connection
from voxraga_operator.queue import Key
from voxraga_operator.watch import Watches, connection_info, key_of

OWNER = {"apiVersion": "voxraga.io/v1alpha1", "kind": "VoiceModel", "name": "narrator", "controller": True}
LABELS = {"app.kubernetes.io/name": "voicemodel", "app.kubernetes.io/instance": "narrator"}
NARRATOR = Key("VoiceModel", "default", "narrator")


def obj(**metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x", "namespace": "default", **metadata}}


@pytest.mark.parametrize(
    ("kind", "body", "key"),
    [
        ("VoiceModel", obj(name="narrator"), NARRATOR),
        ("Service", obj(ownerReferences=[OWNER]), NARRATOR),
        ("Pod", obj(labels=LABELS, ownerReferences=[{**OWNER, "kind": "ReplicaSet", "name": "rs"}]), NARRATOR),
        ("PersistentVolumeClaim", obj(labels=LABELS), NARRATOR),
        ("Service", obj(ownerReferences=[{**OWNER, "controller": False}]), None),
        ("Service", obj(ownerReferences=[{**OWNER, "apiVersion": "other.io/v1"}]), None),
        ("Service", obj(labels={"app.kubernetes.io/name": "voicemodel"}), None),
        ("Service", obj(labels={**LABELS, "app.kubernetes.io/name": "other"}), None),
        ("Service", obj(), None),
    ],
)
def test_the_key_of_an_object(kind: str, body: dict[str, Any], key: Key | None) -> None:
    assert key_of(kind, body) == key


def connection(authorization: str | None) -> Connection:
    return Connection("https://h:1", "/ca", insecure=False, certificate_path=None, private_key_path=None,
                      authorization=authorization)  # fmt: skip


def test_the_informer_gets_the_token_of_now_and_asks_again_later() -> None:
    info = connection_info(connection("bearer secret\n"))
    assert info.as_http_headers() == {"Authorization": "Bearer secret"}
    assert info.expiration is not None
    assert connection_info(connection(None)).as_http_headers() == {}


def test_a_connection_never_shows_its_token() -> None:
    assert "secret" not in repr(connection("Bearer secret"))


async def _login() -> Connection:
    return connection(None)


def test_no_watcher_yet_is_not_ready_but_no_reason_to_restart() -> None:
    watches = Watches(on_change=lambda _key: None, login=_login)
    assert watches.problem() is None
    assert watches.synced() == "0 of 8 watches are running"


def test_a_watcher_that_died_or_an_informer_that_hangs_is() -> None:
    watches = Watches(on_change=lambda _key: None, login=_login, namespaces=("a", "b"))
    watches._pulse.watchers, watches._pulse.seen = 16, 16
    assert watches.problem() is None
    assert watches.synced() is None
    watches._pulse.watchers = 15
    assert watches.problem() == "15 of 16 watches are alive"
    watches._pulse.at -= 60
    assert watches.problem() == "the informer has not answered for 60 s"
