"""The environment, read as docs/contract.md says; a wrong value names its variable."""

import json
from pathlib import Path

import pytest

from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.common.settings import load_settings
from voxraga_runtime.common.termination import LIMIT, write_termination_message


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("VOXRAGA_MODEL_NAME", "narrator")
    monkeypatch.setenv("VOXRAGA_MODEL_PATH", "/store/models/0123456789abcdef")
    return monkeypatch


def test_defaults_are_the_contract(environment: pytest.MonkeyPatch) -> None:
    del environment
    settings = load_settings()
    assert settings.model_dump(exclude={"host", "termination_log", "model_path"}) == {
        "model_name": "narrator",
        "task": "TextToSpeech",
        "device": "cpu",
        "precision": "float32",
        "port": 8080,
        "wyoming_port": None,
        "max_concurrency": None,
        "max_batch": None,
        "queue_depth": 200,
        "queue_timeout": 30,
        "max_text_length": 5000,
        "max_audio_bytes": 25 << 20,
        "max_audio_seconds": 1500,
        "cpu_threads": 1,
        "default_voice": None,
        "default_language": None,
        "default_speed": 1.0,
        "default_format": "mp3",
        "voice_aliases": {},
        "lexicon": {},
        "response_cache_bytes": 0,
        "log_level": "info",
        "drain_timeout": 30,
        "api_keys_path": None,
        "public_listings": True,
        "rate_limit_per_minute": None,
        "rate_limit_burst": 20,
        "allowed_cidrs": [],
        "trusted_proxies": [],
        "cors_origins": [],
        "uploads_path": None,
        "uploads_max_bytes": 2147483648,
        "uploads_without_keys": False,
        "models_max_loaded": 3,
        "models_memory_bytes": None,
        "models_preload": [],
        "models_idle_timeout": 0,
    }


def test_aliases_are_json(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("VOXRAGA_VOICE_ALIASES", '{"alloy": "slt"}')
    assert load_settings().voice_aliases == {"alloy": "slt"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("VOXRAGA_PORT", "http"),
        ("VOXRAGA_PORT", "70000"),
        ("VOXRAGA_DEVICE", "tpu"),
        ("VOXRAGA_DEFAULT_SPEED", "9"),
        ("VOXRAGA_DEFAULT_FORMAT", "ogg"),
        ("VOXRAGA_QUEUE_DEPTH", "-1"),
        ("VOXRAGA_MAX_CONCURRENCY", "0"),
        ("VOXRAGA_VOICE_ALIASES", "{alloy"),
        ("VOXRAGA_VOICE_ALIASES", "[1]"),
        ("VOXRAGA_LOG_LEVEL", "loud"),
        ("VOXRAGA_TASK", "Singing"),
        ("VOXRAGA_RATE_LIMIT_PER_MINUTE", "0"),
        ("VOXRAGA_ALLOWED_CIDRS", '["10.0.0.1/8"]'),
        ("VOXRAGA_TRUSTED_PROXIES", '["proxy"]'),
        ("VOXRAGA_CORS_ORIGINS", '["*"]'),
        ("VOXRAGA_CORS_ORIGINS", '["https://app.example.com/"]'),
        ("VOXRAGA_CORS_ORIGINS", "https://app.example.com"),
    ],
)
def test_wrong_value_names_its_variable(environment: pytest.MonkeyPatch, variable: str, value: str) -> None:
    environment.setenv(variable, value)
    with pytest.raises(StartupError) as caught:
        load_settings()
    assert caught.value.reason == "SettingsInvalid"
    assert variable in caught.value.message


def test_missing_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXRAGA_MODEL_NAME", raising=False)
    monkeypatch.delenv("VOXRAGA_MODEL_PATH", raising=False)
    with pytest.raises(StartupError, match=r"VOXRAGA_MODEL_NAME is not set; VOXRAGA_MODEL_PATH is not set"):
        load_settings()


def test_last_words_fit_and_never_fail(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write_termination_message({"reason": "ModelInvalid", "message": "é" * 9000}, path)
    assert len(path.read_bytes()) <= LIMIT
    assert json.loads(path.read_text())["reason"] == "ModelInvalid"
    write_termination_message({"reason": "x", "message": "y"}, tmp_path / "missing" / "log")
