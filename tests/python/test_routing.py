"""The SDKs while providers fail: what stands in answers them, and where nobody does, they raise what they always raise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import harness
import openai
import pytest
from harness import EXCHANGES, MASTER_KEY, Alias, Upstream, end_of_event

TEXT = "Hello, wörld 🌍!"
HELLO: Any = [{"role": "user", "content": "Say hello."}]
OTHER = {"openai": "anthropic", "anthropic": "openai"}
PROVIDERS = list(OTHER)
CITY = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
NONE: dict[str, Any] = {"type": "object", "properties": {}}
CHAT_TOOLS: Any = [
    {"type": "function", "function": {"name": "get_weather", "parameters": CITY}},
    {"type": "function", "function": {"name": "get_time", "parameters": NONE}},
]
MESSAGE_TOOLS: Any = [
    {"name": "get_weather", "input_schema": CITY},
    {"name": "get_time", "input_schema": NONE},
]
ARGUMENTS = [{"city": "Paris", "days": 2}, {}]

OPENING = {
    "openai": end_of_event("openai-text-stream", '"role"'),
    "anthropic": end_of_event("anthropic-text-stream", "content_block_start"),
}
"""Bytes of a stream ahead of its first content."""

FIRST: dict[str, tuple[str, ...]] = {
    "500": ("500",),
    "429": ("429",),
    "html": ("html",),
    "hang": ("text", "hang"),
    "close": ("text", "close=0"),
}
"""What goes wrong with a provider that is asked first."""


def deployment(name: str, exchange: str, *faults: str) -> Alias:
    row = EXCHANGES[exchange]
    return Alias(name, row["provider"], row["model"], exchange, faults, ("timeout: 1", "stream_timeout: 1"))


def models() -> tuple[list[Alias], list[str]]:
    """Each provider in each failure, with what the other one answers behind it; and the fallbacks from one to the other."""
    every: list[Alias] = []
    fallbacks: list[str] = []

    def lead(first: Alias, second: str) -> None:
        every.append(first)
        fallbacks.append(f"    - {first.name}: [{second}]")

    for one, other in OTHER.items():
        for answer in ("text", "text-stream", "tools", "tools-stream"):
            every.append(deployment(f"{one}-{answer}", f"{one}-{answer}"))
            for name, (exchange, *faults) in FIRST.items():
                first = deployment(f"{one}-{name}-then-{answer}", f"{one}-{exchange}", *faults)
                lead(first, f"{other}-{answer}")
        opened = deployment(f"{one}-opens-then-text-stream", f"{one}-text-stream", f"reset={OPENING[one]}")
        lead(opened, f"{other}-text-stream")
        for status in ("500", "429", "401"):
            every.append(deployment(f"{one}-{status}", f"{one}-{status}"))
            lead(deployment(f"{one}-down-then-{status}", f"{one}-500"), f"{other}-{status}")
    return every, fallbacks


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[harness.Process]:
    """A gateway of its own, whose models fall back."""
    every, fallbacks = models()
    lines = [line for each in every for line in each.config(upstream.base)]
    settings = ["general_settings:", f"  master_key: {MASTER_KEY}", "router_settings:", "  num_retries: 0"]
    config = "\n".join(["model_list:", *lines, *settings, "  fallbacks:", *fallbacks, ""])
    with harness.start_gateway(config) as process:
        yield process


each_provider = pytest.mark.parametrize("provider", PROVIDERS)
each_failure = pytest.mark.parametrize("failure", FIRST)


@each_provider
@each_failure
def test_openai_whole(oai: openai.OpenAI, provider: str, failure: str) -> None:
    raw = oai.chat.completions.with_raw_response.create(
        model=f"{provider}-{failure}-then-text", messages=HELLO
    )
    assert raw.headers["x-litellm-attempted-fallbacks"] == "1"
    assert raw.headers["x-litellm-model-group"] == f"{provider}-{failure}-then-text"
    assert raw.parse().choices[0].message.content == TEXT


@each_provider
@each_failure
def test_anthropic_whole(claude: anthropic.Anthropic, provider: str, failure: str) -> None:
    raw = claude.messages.with_raw_response.create(
        model=f"{provider}-{failure}-then-text", messages=HELLO, max_tokens=100
    )
    assert raw.headers["x-litellm-attempted-fallbacks"] == "1"
    [block] = raw.parse().content
    assert block.type == "text" and block.text == TEXT


@each_provider
@pytest.mark.parametrize("failure", [*FIRST, "opens"])
def test_openai_streamed(oai: openai.OpenAI, provider: str, failure: str) -> None:
    with oai.chat.completions.stream(
        model=f"{provider}-{failure}-then-text-stream", messages=HELLO
    ) as stream:
        answer = stream.get_final_completion()
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"


@each_provider
@pytest.mark.parametrize("failure", [*FIRST, "opens"])
def test_anthropic_streamed(claude: anthropic.Anthropic, provider: str, failure: str) -> None:
    with claude.messages.stream(
        model=f"{provider}-{failure}-then-text-stream", messages=HELLO, max_tokens=100
    ) as stream:
        message = stream.get_final_message()
    assert "".join(block.text for block in message.content if block.type == "text") == TEXT
    assert message.stop_reason == "end_turn"


@each_provider
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_openai_tools(oai: openai.OpenAI, provider: str, streams: bool) -> None:
    model = f"{provider}-500-then-tools"
    if streams:
        with oai.chat.completions.stream(
            model=f"{model}-stream", messages=HELLO, tools=CHAT_TOOLS
        ) as stream:
            calls = stream.get_final_completion().choices[0].message.tool_calls
    else:
        answer = oai.chat.completions.create(model=model, messages=HELLO, tools=CHAT_TOOLS)
        calls = answer.choices[0].message.tool_calls  # type: ignore[assignment]
    assert calls is not None
    assert [json.loads(call.function.arguments) for call in calls] == ARGUMENTS


@each_provider
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_anthropic_tools(claude: anthropic.Anthropic, provider: str, streams: bool) -> None:
    model = f"{provider}-500-then-tools"
    ask: Any = {"messages": HELLO, "tools": MESSAGE_TOOLS, "max_tokens": 100}
    if streams:
        with claude.messages.stream(model=f"{model}-stream", **ask) as stream:
            message = stream.get_final_message()
    else:
        message = claude.messages.create(model=model, **ask)
    assert message.stop_reason == "tool_use"
    assert [block.input for block in message.content if block.type == "tool_use"] == ARGUMENTS


DOWN: list[tuple[str, type[openai.APIStatusError], type[anthropic.APIStatusError]]] = [
    ("500", openai.InternalServerError, anthropic.InternalServerError),
    ("429", openai.RateLimitError, anthropic.RateLimitError),
    ("401", openai.AuthenticationError, anthropic.AuthenticationError),
]


@each_provider
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("status", "chat", "messages"), DOWN, ids=[status for status, _, _ in DOWN])
def test_all_are_down(
    oai: openai.OpenAI,
    claude: anthropic.Anthropic,
    provider: str,
    stream: bool,
    status: str,
    chat: type[openai.APIStatusError],
    messages: type[anthropic.APIStatusError],
) -> None:
    """The last of them has its say."""
    model = f"{provider}-down-then-{status}"
    with pytest.raises(openai.APIStatusError) as one:
        oai.chat.completions.create(model=model, messages=HELLO, stream=stream)
    with pytest.raises(anthropic.APIStatusError) as other:
        claude.messages.create(model=model, messages=HELLO, max_tokens=10, stream=stream)
    assert (type(one.value), type(other.value)) == (chat, messages)
    for error in (one.value, other.value):
        assert error.status_code == int(status)
        assert error.response.headers["x-litellm-attempted-fallbacks"] == "1"
        assert error.response.headers["x-litellm-call-id"] == error.response.headers["x-request-id"]
        assert "127.0.0.1" not in error.message


@each_provider
def test_a_call_names_its_fallbacks(oai: openai.OpenAI, upstream: Upstream, provider: str) -> None:
    """LiteLLM's own words, as its users pass them."""
    ask: Any = {"model": f"{provider}-500", "messages": HELLO}
    with upstream.watch() as seen:
        answer = oai.chat.completions.create(**ask, extra_body={"fallbacks": ["openai-text"], "num_retries": 9})
        bodies = [one.json for one in seen()]
    assert answer.choices[0].message.content == TEXT
    assert len(bodies) == 2
    assert all("fallbacks" not in body and "num_retries" not in body for body in bodies)
    with pytest.raises(openai.InternalServerError):
        oai.chat.completions.create(**ask, extra_body={"fallbacks": ["openai-text"], "disable_fallbacks": True})
    with pytest.raises(openai.NotFoundError) as unknown:
        oai.chat.completions.create(**ask, extra_body={"fallbacks": ["no-such-model"]})
    assert (unknown.value.param, unknown.value.code) == ("fallbacks", "model_not_found")
