"""The fixtures: one replay upstream and one gateway for all tests on synthetic exchanges, and the SDKs' clients."""

from __future__ import annotations

import os
from collections.abc import Iterator

import anthropic
import harness
import openai
import pytest

TIMEOUT = 15.0


@pytest.fixture(scope="session")
def upstream() -> Iterator[harness.Upstream]:
    """The provider of every synthetic exchange."""
    with harness.start_upstream("--synthetic", harness.EXCHANGES_FILE) as process:
        yield harness.Upstream(process)


@pytest.fixture(scope="session")
def gateway(upstream: harness.Upstream) -> Iterator[harness.Process]:
    """The gateway in front of it."""
    with harness.start_gateway(harness.config(upstream.base)) as process:
        yield process


@pytest.fixture
def oai(gateway: harness.Process) -> Iterator[openai.OpenAI]:
    """OpenAI's own client: only its address and key are ours, and it does not retry."""
    with openai.OpenAI(
        base_url=gateway.base + "/v1", api_key=harness.MASTER_KEY, max_retries=0, timeout=TIMEOUT
    ) as client:
        yield client


@pytest.fixture
def claude(gateway: harness.Process) -> Iterator[anthropic.Anthropic]:
    """Anthropic's own client, likewise."""
    with anthropic.Anthropic(
        base_url=gateway.base, api_key=harness.MASTER_KEY, max_retries=0, timeout=TIMEOUT
    ) as client:
        yield client


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if harness.recordings_folder() is None:
        terminalreporter.write_line(
            "No recorded traffic here (see CONTRIBUTING.md): those tests were skipped."
        )


def pytest_sessionstart() -> None:
    if os.environ.get("CI") == "true" and harness.recordings_folder() is None:
        pytest.exit("CI runs need the recorded traffic, and it is not here", returncode=2)
