"""Every input that a fuzzer starts from, and every one that it found something with, through its target."""

import pytest

from tests.fuzz.finds import inputs
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_known_inputs_do_nothing_but_refuse(name: str) -> None:
    for data in inputs()[name]:
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_cut_off_inputs_do_nothing_but_refuse(name: str) -> None:
    for data in inputs()[name]:
        for part in range(1, 8):
            TARGETS[name](data[: len(data) * part // 8])
