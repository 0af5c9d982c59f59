"""The operator's settings: read from the environment, and refused by name where they can't be."""

import pytest

from voxraga_operator.settings import OperatorSettings, SettingsError, from_env


def test_an_empty_environment_gives_the_defaults() -> None:
    assert from_env({"PATH": "/bin"}) == OperatorSettings()


def test_what_the_kubelet_adds_beside_a_service_is_not_meant() -> None:
    links = {
        "PORT": "tcp://10.96.0.7:8080",
        "SERVICE_HOST": "10.96.0.7",
        "SERVICE_PORT_HTTP": "1",
        "PORT_8080_TCP_ADDR": "x",
    }
    assert from_env({f"VOXRAGA_OPERATOR_{name}": value for name, value in links.items()}) == OperatorSettings()


def test_every_kind_of_value() -> None:
    settings = from_env(
        {
            "VOXRAGA_OPERATOR_RUNTIME_CPU_IMAGE": "registry.example/cpu:1",
            "VOXRAGA_OPERATOR_WORKERS": "3",
            "VOXRAGA_OPERATOR_RESYNC_SECONDS": "1.5",
            "VOXRAGA_OPERATOR_LEADER_ELECTION": "false",
            "VOXRAGA_OPERATOR_WATCH_NAMESPACES": "a, b",
        },
    )
    assert settings.runtime_cpu_image == "registry.example/cpu:1"
    assert (settings.workers, settings.resync_seconds, settings.leader_election) == (3, 1.5, False)
    assert settings.watch_namespaces == ("a", "b")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "many"),
        ("WORKERS", "0"),
        ("LEADER_ELECTION", "perhaps"),
        ("IMAGE_PULL_POLICY", "Sometimes"),
        ("LOG_LEVEL", "loud"),
        ("RUNTIME_GPU_IMAGE", ""),
        ("WORKER", "1"),
    ],
)
def test_what_cannot_be_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"VOXRAGA_OPERATOR_{name}"):
        from_env({f"VOXRAGA_OPERATOR_{name}": value})
