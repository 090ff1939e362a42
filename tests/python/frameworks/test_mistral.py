"""Mistral's own client through the gateway: it speaks OpenAI's chats, strictly. Cohere's and Ollama's speak dialects that callers have no paths for here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import harness
import pytest
from harness import alias
from mistralai.client import Mistral
from mistralai.client.errors import MistralError

TEXT = "Hello, wörld 🌍!"
PIECES = ["Hello", ", ", "wörld", " 🌍", "!"]
PROVIDERS = ["openai", "anthropic"]
HELLO: Any = [{"role": "user", "content": "Say hello."}]
CALLS: Any = [("get_weather", {"city": "Paris", "days": 2}), ("get_time", {})]


def both(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("model", [alias(f"{each}-{name}") for each in PROVIDERS], ids=PROVIDERS)


def arguments(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


@pytest.fixture
def mistral(gateway: harness.Process) -> Iterator[Mistral]:
    """Only its address and key are ours."""
    with Mistral(api_key=harness.MASTER_KEY, server_url=gateway.base) as client:
        yield client


@both("text")
def test_an_answer(mistral: Mistral, model: harness.Alias) -> None:
    answer = mistral.chat.complete(model=model.name, messages=HELLO)
    assert answer.choices[0].message.content == TEXT
    assert (answer.choices[0].finish_reason, answer.usage.total_tokens) == ("stop", 25)


@both("text-stream")
def test_a_stream(mistral: Mistral, model: harness.Alias) -> None:
    choices = [choice for event in mistral.chat.stream(model=model.name, messages=HELLO) for choice in event.data.choices]
    assert [choice.delta.content for choice in choices if choice.delta.content] == PIECES
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]


@both("tools")
def test_tool_calls(mistral: Mistral, model: harness.Alias) -> None:
    calls = mistral.chat.complete(model=model.name, messages=HELLO).choices[0].message.tool_calls
    assert [(call.function.name, arguments(call.function.arguments)) for call in calls] == CALLS


@both("429")
def test_a_refusal_has_its_status(mistral: Mistral, model: harness.Alias) -> None:
    with pytest.raises(MistralError) as caught:
        mistral.chat.complete(model=model.name, messages=HELLO)
    assert caught.value.status_code == 429


def test_a_wrong_key(gateway: harness.Process) -> None:
    with Mistral(api_key="sk-wrong", server_url=gateway.base) as stranger, pytest.raises(MistralError) as caught:
        stranger.chat.complete(model="openai-text", messages=HELLO)
    assert caught.value.status_code == 401
