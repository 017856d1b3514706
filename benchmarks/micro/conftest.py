"""Skip tests of contenders that are absent, with the reason; let warnings of other libraries pass."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from benchmarks.harness.measure import Absent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "default")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    try:
        return (yield)
    except Absent as reason:
        pytest.skip(f"{item.name}: {reason}")
