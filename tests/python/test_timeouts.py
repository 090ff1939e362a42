"""Providers that keep a caller waiting: before the first byte, and in the middle of a stream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import anthropic
import harness
import openai
import pytest
from harness import Seen, Upstream, alias, end_of_event

CHAT: Any = {"messages": [{"role": "user", "content": "Hi."}]}
MESSAGES: Any = {"max_tokens": 10, **CHAT}
BOTH = ("openai", "anthropic")
HANGING = {
    provider: alias(f"{provider}-text", "hang", settings=("timeout: 0.5", "stream_timeout: 0.5"))
    for provider in BOTH
}
STALLED = {
    name: alias(f"{name}-text-stream", f"stall={end_of_event(f'{name}-text-stream', 'Hello')}")
    for name in BOTH
}
IDLE_SECONDS = 1


@pytest.fixture(scope="module")
def impatient(upstream: Upstream) -> Iterator[harness.Process]:
    """A gateway that lets a stream be silent for a second."""
    with harness.start_gateway(harness.config(upstream.base), "--idle-timeout", str(IDLE_SECONDS)) as process:
        yield process


def check_left(upstream: Upstream, path: str) -> None:
    """The provider that kept us waiting was left."""

    def ended() -> list[Seen] | None:
        seen = [one for one in upstream.seen() if one.path.startswith(path)]
        return seen if all(one.ending is not None for one in seen) else None

    assert {one.ending for one in harness.wait_for(ended, "the upstream is still waited for")} == {
        "peer_closed"
    }


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("provider", BOTH)
def test_a_provider_that_does_not_answer(
    oai: openai.OpenAI, claude: anthropic.Anthropic, upstream: Upstream, provider: str, stream: bool
) -> None:
    model = HANGING[provider]
    # The head of an answer in one piece may come with its end.
    code = "first_byte_timeout" if stream else "attempt_timeout"
    began = time.monotonic()
    with pytest.raises(openai.InternalServerError) as chat:
        oai.chat.completions.create(model=model.name, stream=stream, **CHAT)
    assert (chat.value.status_code, chat.value.code) == (504, code)
    with pytest.raises(anthropic.InternalServerError) as messages:
        claude.messages.create(model=model.name, stream=stream, **MESSAGES)
    assert (messages.value.status_code, messages.value.type) == (504, "timeout_error")
    assert 1.0 <= time.monotonic() - began < 5.0
    check_left(upstream, model.path())


@pytest.mark.parametrize("provider", BOTH)
def test_a_stream_that_falls_silent(impatient: harness.Process, upstream: Upstream, provider: str) -> None:
    model = STALLED[provider]
    began = time.monotonic()
    chat = harness.post(impatient.base, "/v1/chat/completions", {"model": model.name, "stream": True, **CHAT})
    messages = harness.post(impatient.base, "/v1/messages", {"model": model.name, "stream": True, **MESSAGES})
    assert 2 * IDLE_SECONDS <= time.monotonic() - began < 3 * IDLE_SECONDS + 2
    assert (chat.status, messages.status) == (200, 200)
    assert chat.body.count(b'"Hello"') == messages.body.count(b'"Hello"') == 1
    assert chat.body.count(b'"error"') == 1
    assert messages.body.count(b"event: error") == 1
    assert b"[DONE]" not in chat.body
    assert b"message_stop" not in messages.body
    check_left(upstream, model.path())
