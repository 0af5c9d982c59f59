"""A planned container as a process: its variables, and whose folders they name."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.operator.cli.files import CLAIM, made
from tests.operator.plan.test_objects import ACCESS, MORE
from voxraga_operator.cli.containers import RUNTIME, Folders, check_names, inherited, process
from voxraga_operator.cli.failure import Failure
from voxraga_operator.cli.serve import _prepare_uploads

STORE = Path("/home/me/store")
KEY = {"name": "hub", "key": "token"}


def env(**variable: Any) -> dict[str, Any]:
    return {"podTemplate": {"env": [{"name": "A", **variable}]}}


def server(folders: Folders | None = None, **spec: Any) -> dict[str, str]:
    return dict(process(made(**spec).deployment, folders or Folders(store=STORE)).environment)


def fetch(folders: Folders | None = None, **spec: Any) -> dict[str, str]:
    return dict(process(made(**spec).job, folders or Folders(store=STORE)).environment)


def test_the_fetch_is_told_what_the_job_tells_it() -> None:
    found = made()
    job = process(found.job, Folders(store=STORE))
    assert job.command == (*RUNTIME, "fetch")
    assert job.grace == 10
    key = found.job["metadata"]["labels"]["voxraga.io/key"]
    assert job.environment == {
        "VOXRAGA_SOURCE": json.dumps({"builtin": {"name": "demo"}}),
        "VOXRAGA_TASK": "TextToSpeech",
        "VOXRAGA_STORE_KEY": key,
        "VOXRAGA_STORE_PATH": str(STORE),
        "VOXRAGA_ACCEPTED_LICENSES": "[]",
        "VOXRAGA_LOG_LEVEL": "info",
        "VOXRAGA_KEEP": "[]",
    }


def test_the_server_is_told_what_the_deployment_tells_it() -> None:
    found = made(serving={"queueTimeout": "1m", "voiceAliases": {"alloy": "slt"}, "drainTimeout": "5s"})
    own = {"VOXRAGA_HOST": "127.0.0.1", "VOXRAGA_PORT": "9000"}
    serve = process(found.deployment, Folders(store=STORE), own)
    (container,) = found.deployment["spec"]["template"]["spec"]["containers"]
    planned = {each["name"]: each["value"] for each in container["env"]}
    key = found.job["metadata"]["labels"]["voxraga.io/key"]
    assert serve.command == (*RUNTIME, "serve")
    assert serve.grace == 20
    assert serve.environment == planned | own | {"VOXRAGA_MODEL_PATH": f"{STORE}/models/{key}"}
    assert planned["VOXRAGA_QUEUE_TIMEOUT"] == "60"


EVERYTHING: dict[str, Any] = {
    "precision": "bfloat16",
    "serving": MORE,
    "access": ACCESS,
    "podTemplate": {"env": [{"name": "A", "value": "1"}]},
}


def test_the_same_settings_here_as_in_a_pod() -> None:
    """But for where things are, so that the same request gets the same samples."""
    found = made(**EVERYTHING)
    (container,) = found.deployment["spec"]["template"]["spec"]["containers"]
    pod = {each["name"]: each["value"] for each in container["env"]}
    own = {"VOXRAGA_HOST": "127.0.0.1", "VOXRAGA_PORT": "9000"}
    here = process(found.deployment, Folders(store=STORE, api_keys=Path("/keys")), own)
    places = {
        "VOXRAGA_HOST": "127.0.0.1",
        "VOXRAGA_PORT": "9000",
        "VOXRAGA_MODEL_PATH": f"{STORE}{pod['VOXRAGA_MODEL_PATH'].removeprefix('/store')}",
        "VOXRAGA_API_KEYS_PATH": "/keys",
        "VOXRAGA_UPLOADS_PATH": f"{STORE}/uploads",
    }
    assert here.environment == pod | places
    assert here.left_out == ()


def test_words_are_no_variables() -> None:
    words = {"US$": "dollars", "$$": "rich", "$(VOXRAGA_TASK)": "task"}
    found = process(made(serving={"lexicon": words}).deployment, Folders(store=STORE))
    assert json.loads(found.environment["VOXRAGA_LEXICON"]) == words


def test_without_keys_nobody_is_asked_for_one_and_nobody_may_upload() -> None:
    found = made(serving=MORE, access=ACCESS)
    serve = process(found.deployment, Folders(store=STORE))
    missing = {"VOXRAGA_API_KEYS_PATH", "VOXRAGA_UPLOADS_PATH", "VOXRAGA_UPLOADS_MAX_BYTES", "VOXRAGA_MODELS_PRELOAD"}
    assert not missing & serve.environment.keys()
    assert serve.environment["VOXRAGA_RATE_LIMIT_PER_MINUTE"] == "60"
    assert [told.partition(":")[0] for told in serve.left_out] == ["spec.access.apiKeys", "spec.serving.uploads"]
    check_names((found.job, found.deployment), Folders(store=STORE))


def test_a_claim_is_a_folder(tmp_path: Path) -> None:
    found = fetch(Folders(store=STORE, claims={"voices": tmp_path}), source=CLAIM)
    assert found["VOXRAGA_SOURCE_PATH"] == str(tmp_path)
    assert json.loads(found["VOXRAGA_SOURCE"]) == CLAIM


def test_a_secret_is_a_folder(tmp_path: Path) -> None:
    source = {"huggingFace": {"repo": "a/b", "secretRef": {"name": "hub"}}}
    found = fetch(Folders(store=STORE, secrets={"hub": tmp_path}), source=source)
    assert found["VOXRAGA_SECRET_PATH"] == str(tmp_path)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/store", str(STORE)),
        ("/store/models/x", f"{STORE}/models/x"),
        ("/stored", "/stored"),
        ("/tmp/x", "/tmp/x"),
        ("/source/x", "/source/x"),
        ("see /store", "see /store"),
        ("$(VOXRAGA_PORT)1", "80801"),
        ("$(NONE) $$(VOXRAGA_PORT) $5", "$(NONE) $(VOXRAGA_PORT) $5"),
        ("", ""),
    ],
)
def test_values_of_variables(value: str, expected: str) -> None:
    assert server(**env(value=value))["A"] == expected


def test_keys_of_secrets_and_config_maps_are_files(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    folders = Folders(store=STORE, secrets={"hub": tmp_path}, config_maps={"hub": tmp_path})
    assert server(folders, **env(valueFrom={"secretKeyRef": KEY}))["A"] == "abc\n"
    assert server(folders, **env(valueFrom={"configMapKeyRef": KEY}))["A"] == "abc\n"


@pytest.mark.parametrize("folders", [(), ("hub",)])
def test_what_is_optional_may_be_missing(tmp_path: Path, folders: tuple[str, ...]) -> None:
    secrets = dict.fromkeys(folders, tmp_path)
    found = server(Folders(store=STORE, secrets=secrets), **env(valueFrom={"secretKeyRef": {**KEY, "optional": True}}))
    assert "A" not in found


def test_a_pods_own_fields_are_left_out_and_named() -> None:
    found = made(**env(valueFrom={"fieldRef": {"fieldPath": "status.podIP"}}))
    serve = process(found.deployment, Folders(store=STORE))
    assert "A" not in serve.environment
    assert serve.left_out == ("variable A of spec.podTemplate.env: status.podIP is a pod's",)


@pytest.mark.parametrize(
    ("spec", "given", "told"),
    [
        ({"source": CLAIM}, {}, 'claimName is "voices", which only a cluster has: .* by --claim voices=DIR'),
        ({"source": CLAIM}, {"claims": {"voices": Path("/nowhere")}}, "--claim voices=/nowhere: there is no such"),
        ({"source": CLAIM}, {"claims": {"voice": Path("/")}}, r"--claim voice: .* does not use it \(it uses: voices"),
        ({}, {"secrets": {"hub": Path("/")}}, r"--secret hub: .* does not use it \(it uses: none\)"),
        ({}, {"config_maps": {"hub": Path("/")}}, "--config-map hub: "),
        (env(valueFrom={"secretKeyRef": KEY}), {}, 'variable A .* is "hub", .* by --secret hub=DIR'),
        (env(valueFrom={"configMapKeyRef": KEY}), {}, 'variable A .* is "hub", .* by --config-map hub=DIR'),
        (env(valueFrom={"secretKeyRef": KEY}), {"secrets": {"hub": Path("/")}}, "there is no file /token"),
        (env(valueFrom={"secretKeyRef": {**KEY, "key": "../x"}}), {"secrets": {"hub": Path("/")}}, "can't be a key"),
        (env(valueFrom={"secretKeyRef": {**KEY, "key": "etc"}}), {"secrets": {"hub": Path("/")}}, "/etc can't be read"),
    ],
)
def test_what_is_missing_or_misspelt_is_told(spec: dict[str, Any], given: dict[str, Any], told: str) -> None:
    found, folders = made(**spec), Folders(store=STORE, **given)

    def attempt() -> None:
        check_names((found.job, found.deployment), folders)
        process(found.job, folders)
        process(found.deployment, folders)

    with pytest.raises(Failure, match=told):
        attempt()


def test_settings_of_this_shell_are_not_the_voicemodels() -> None:
    shell = {
        "PATH": "/bin",
        "HF_ENDPOINT": "https://hub.internal",
        "VOXRAGA_DEFAULT_VOICE": "x",
        "VOXRAGA_OPERATOR_WORKERS": "1",
        "VOXRAGA_CATALOG_MIRROR": "https://mirror.internal",
        "VOXRAGA_FETCH_TIMEOUT": "5",
    }
    assert inherited(shell).keys() == {"PATH", "HF_ENDPOINT", "VOXRAGA_CATALOG_MIRROR", "VOXRAGA_FETCH_TIMEOUT"}


@pytest.mark.parametrize("keys", [None, Path("/keys")])
def test_the_folder_for_uploads_is_made_as_a_kubelet_would(tmp_path: Path, keys: Path | None) -> None:
    found = process(made(serving=MORE, access=ACCESS).deployment, Folders(store=tmp_path / "store", api_keys=keys))
    _prepare_uploads(found)
    assert (tmp_path / "store" / "uploads").is_dir() is (keys is not None)
