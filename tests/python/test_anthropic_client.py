"""The official `anthropic` client through the gateway: Anthropic and OpenAI behind it, whole answers and streams."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import harness
import pytest
from anthropic.types import Message
from harness import alias

TEXT = "Hello, wörld 🌍!"
PIECES = ["Hello", ", ", "wörld", " 🌍", "!"]
PROVIDERS = ["openai", "anthropic"]
CUTS: list[tuple[str, ...]] = [(), ("rechunk=1",), ("rechunk=7",)]
ASK: Any = {"max_tokens": 100, "messages": [{"role": "user", "content": "Say hello."}]}
TOOLS: Any = [
    {
        "name": "get_weather",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
    {"name": "get_time", "input_schema": {"type": "object", "properties": {}}},
]
USAGE = {
    "openai": {"input_tokens": 12, "cache_read_input_tokens": 8, "output_tokens": 5},
    "anthropic": {"input_tokens": 10, "cache_read_input_tokens": 7, "output_tokens": 5},
}
"""Anthropic's input tokens leave the cached ones out; OpenAI's 20 hold 8 of them."""

CALLS = {
    "openai": [("call_weather1", "get_weather"), ("call_clock2", "get_time")],
    "anthropic": [("toolu_weather1", "get_weather"), ("toolu_clock2", "get_time")],
}
ARGUMENTS = [{"city": "Paris", "days": 2}, {}]


def both(name: str) -> pytest.MarkDecorator:
    """The same exchange at each provider, as a whole answer."""
    return pytest.mark.parametrize("model", [alias(f"{each}-{name}") for each in PROVIDERS], ids=PROVIDERS)


def streams(*names: str) -> pytest.MarkDecorator:
    """Streams in three cuts."""
    models = [alias(f"{name}-stream", *cut) for name in names for cut in CUTS]
    return pytest.mark.parametrize("model", models, ids=lambda model: model.name)


def texts(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def check_usage(message: Message, provider: str) -> None:
    got = message.usage
    assert {name: getattr(got, name) for name in USAGE[provider]} == USAGE[provider]
    if provider == "anthropic":
        assert got.cache_creation_input_tokens == 3


def check_calls(message: Message, provider: str) -> None:
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [(call.id, call.name) for call in calls] == CALLS[provider]
    assert [call.input for call in calls] == ARGUMENTS


def streamed(client: anthropic.Anthropic, model: str, **more: Any) -> Message:
    """What the SDK's own stream helper has put together at the end."""
    with client.messages.stream(model=model, **ASK, **more) as stream:
        return stream.get_final_message()


@both("text")
def test_text(claude: anthropic.Anthropic, model: harness.Alias) -> None:
    message = claude.messages.create(model=model.name, **ASK)
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    assert message.stop_sequence is None
    assert [block.type for block in message.content] == ["text"]
    assert texts(message) == TEXT
    check_usage(message, model.provider)


@streams("openai-text", "anthropic-text")
def test_text_streamed_event_by_event(claude: anthropic.Anthropic, model: harness.Alias) -> None:
    events = list(claude.messages.create(model=model.name, stream=True, **ASK))
    kinds = [event.type for event in events]
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * len(PIECES),
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    assert [delta.text for delta in deltas if delta.type == "text_delta"] == PIECES
    assert {event.index for event in events if event.type.startswith("content_block")} == {0}


@streams("openai-text", "anthropic-text")
def test_text_streamed_through_the_helper(claude: anthropic.Anthropic, model: harness.Alias) -> None:
    message = streamed(claude, model.name)
    assert [block.type for block in message.content] == ["text"]
    assert texts(message) == TEXT
    assert message.stop_reason == "end_turn"
    check_usage(message, model.provider)


@both("tools")
def test_tool_calls(claude: anthropic.Anthropic, model: harness.Alias) -> None:
    message = claude.messages.create(model=model.name, tools=TOOLS, **ASK)
    assert message.stop_reason == "tool_use"
    assert texts(message) == {"openai": "", "anthropic": "Let me look."}[model.provider]
    check_calls(message, model.provider)
    check_usage(message, model.provider)


@streams("openai-tools", "anthropic-tools")
def test_tool_calls_streamed(claude: anthropic.Anthropic, model: harness.Alias) -> None:
    message = streamed(claude, model.name, tools=TOOLS)
    assert message.stop_reason == "tool_use"
    assert texts(message) == {"openai": "", "anthropic": "Let me look."}[model.provider]
    check_calls(message, model.provider)
    check_usage(message, model.provider)


@streams("openai-tools", "anthropic-tools")
def test_blocks_open_and_close_in_order(claude: anthropic.Anthropic, model: harness.Alias) -> None:
    open_block: int | None = None
    closed: list[int] = []
    for event in claude.messages.create(model=model.name, stream=True, tools=TOOLS, **ASK):
        if event.type == "content_block_start":
            assert (open_block, event.index) == (None, len(closed))
            open_block = event.index
        elif event.type == "content_block_delta":
            assert event.index == open_block
        elif event.type == "content_block_stop":
            assert event.index == open_block
            closed.append(event.index)
            open_block = None
    assert open_block is None
    assert closed == {"openai": [0, 1], "anthropic": [0, 1, 2]}[model.provider]


THINKING = alias("anthropic-thinking")


def check_thinking(message: Message) -> None:
    thinking, redacted, answer = message.content
    assert thinking.type == "thinking"
    assert (thinking.thinking, thinking.signature) == ("First, greet.", "c2lnbmF0dXJl")
    assert redacted.type == "redacted_thinking"
    assert redacted.data == "cmVkYWN0ZWQ="
    assert answer.type == "text"
    assert answer.text == "Hello!"


def test_thinking_keeps_its_signature(claude: anthropic.Anthropic) -> None:
    check_thinking(claude.messages.create(model=THINKING.name, **ASK))


@streams("anthropic-thinking")
def test_thinking_streamed(claude: anthropic.Anthropic, model: harness.Alias) -> None:
    check_thinking(streamed(claude, model.name))


ENDINGS = [
    ("openai-length", "Once upon a", "max_tokens", None),
    ("openai-filter", "Partly", "refusal", None),
    # A refusal in the model's own words is a text like any other here, and no stop by a classifier.
    ("openai-refusal", "I can't help with that.", "end_turn", None),
    ("anthropic-length", "Once upon a", "max_tokens", None),
    ("anthropic-stop", "one two", "stop_sequence", "END"),
    ("anthropic-refusal", "No.", "refusal", None),
]
WHOLE = {name: alias(name) for name, *_ in ENDINGS}
STREAMS = {name: alias(f"{name}-stream") for name, *_ in ENDINGS}


@pytest.mark.parametrize(("name", "text", "reason", "sequence"), ENDINGS)
def test_why_it_ended(
    claude: anthropic.Anthropic, name: str, text: str, reason: str, sequence: str | None
) -> None:
    message = claude.messages.create(model=WHOLE[name].name, **ASK)
    assert (texts(message), message.stop_reason, message.stop_sequence) == (text, reason, sequence)


@pytest.mark.parametrize(("name", "text", "reason", "sequence"), ENDINGS)
def test_why_a_stream_ended(
    claude: anthropic.Anthropic, name: str, text: str, reason: str, sequence: str | None
) -> None:
    message = streamed(claude, STREAMS[name].name)
    assert (texts(message), message.stop_reason, message.stop_sequence) == (text, reason, sequence)


def test_the_async_client(gateway: harness.Process) -> None:
    async def ask() -> str:
        async with anthropic.AsyncAnthropic(
            base_url=gateway.base, api_key=harness.MASTER_KEY, max_retries=0
        ) as client:
            async with client.messages.stream(model="openai-text-stream", **ASK) as stream:
                return await stream.get_final_text()

    assert asyncio.run(ask()) == TEXT
