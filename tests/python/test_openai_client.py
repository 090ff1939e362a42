"""The official `openai` client through the gateway: OpenAI and Anthropic behind it, whole answers and streams."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import harness
import openai
import pytest
from harness import alias
from openai.types.chat import ChatCompletion, ChatCompletionChunk

TEXT = "Hello, wörld 🌍!"
PIECES = ["Hello", ", ", "wörld", " 🌍", "!"]
PROVIDERS = ["openai", "anthropic"]
CUTS: list[tuple[str, ...]] = [(), ("rechunk=1",), ("rechunk=7",)]
HELLO: Any = [{"role": "user", "content": "Say hello."}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["city"],
            },
        },
    },
    {
        "type": "function",
        "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}},
    },
]

CACHED = {"openai": 8, "anthropic": 7}
"""Of the 20 prompt tokens that both providers report, in their different ways."""

CALLS = {
    "openai": [("call_weather1", "get_weather"), ("call_clock2", "get_time")],
    "anthropic": [("toolu_weather1", "get_weather"), ("toolu_clock2", "get_time")],
}
ARGUMENTS = [{"city": "Paris", "days": 2}, {}]

each_provider = pytest.mark.parametrize("provider", PROVIDERS)


def both(name: str) -> pytest.MarkDecorator:
    """The same exchange at each provider, as a whole answer."""
    return pytest.mark.parametrize("model", [alias(f"{each}-{name}") for each in PROVIDERS], ids=PROVIDERS)


def both_streams(name: str) -> pytest.MarkDecorator:
    """The same stream at each provider, in three cuts."""
    models = [alias(f"{each}-{name}-stream", *cut) for each in PROVIDERS for cut in CUTS]
    return pytest.mark.parametrize("model", models, ids=lambda model: model.name)


def check_usage(answer: ChatCompletion | ChatCompletionChunk, provider: str) -> None:
    usage = answer.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (20, 5, 25)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == CACHED[provider]


def check_calls(answer: ChatCompletion, provider: str) -> None:
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert [(call.id, call.function.name) for call in calls if call.type == "function"] == CALLS[provider]
    assert [json.loads(call.function.arguments) for call in calls if call.type == "function"] == ARGUMENTS


def streamed(client: openai.OpenAI, model: str, **more: Any) -> ChatCompletion:
    """What the SDK's own stream helper has put together at the end (its `get_final_completion` raises on `length`)."""
    options: Any = {"include_usage": True}
    with client.chat.completions.stream(
        model=model, messages=HELLO, stream_options=options, **more
    ) as stream:
        return stream.until_done().current_completion_snapshot


@both("text")
def test_text(oai: openai.OpenAI, model: harness.Alias) -> None:
    answer = oai.chat.completions.create(model=model.name, messages=HELLO)
    assert answer.object == "chat.completion"
    [choice] = answer.choices
    assert (choice.index, choice.finish_reason) == (0, "stop")
    assert (choice.message.role, choice.message.content) == ("assistant", TEXT)
    assert choice.message.tool_calls is None
    check_usage(answer, model.provider)


@both_streams("text")
def test_text_streamed_chunk_by_chunk(oai: openai.OpenAI, model: harness.Alias) -> None:
    chunks = list(
        oai.chat.completions.create(
            model=model.name, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    *content, last = chunks
    assert len({(chunk.id, chunk.model, chunk.created, chunk.object) for chunk in chunks}) == 1
    assert chunks[0].object == "chat.completion.chunk"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].delta.content for chunk in content if chunk.choices[0].delta.content] == PIECES
    assert [chunk.choices[0].finish_reason for chunk in content] == [None] * (len(content) - 1) + ["stop"]
    assert last.choices == []
    check_usage(last, model.provider)
    assert [chunk.usage for chunk in content] == [None] * len(content)


@both_streams("text")
def test_usage_that_the_caller_did_not_ask_for_stays_away(
    oai: openai.OpenAI, upstream: harness.Upstream, model: harness.Alias
) -> None:
    with upstream.watch() as seen:
        chunks = list(oai.chat.completions.create(model=model.name, messages=HELLO, stream=True))
        [one] = seen()
    texts = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(texts) == TEXT
    # The replayed provider sends its usage whether asked or not: what nobody asked for is passed on as it is.
    ours = model.provider == "anthropic" or "stream_options" in one.json
    assert [chunk for chunk in chunks if chunk.usage] == ([] if ours else chunks[-1:])


@both_streams("text")
def test_text_streamed_through_the_helper(oai: openai.OpenAI, model: harness.Alias) -> None:
    answer = streamed(oai, model.name)
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    check_usage(answer, model.provider)


@both("tools")
def test_tool_calls(oai: openai.OpenAI, model: harness.Alias) -> None:
    answer = oai.chat.completions.create(model=model.name, messages=HELLO, tools=TOOLS)
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content == {"openai": None, "anthropic": "Let me look."}[model.provider]
    check_calls(answer, model.provider)
    check_usage(answer, model.provider)


@both_streams("tools")
def test_tool_calls_streamed(oai: openai.OpenAI, model: harness.Alias) -> None:
    answer = streamed(oai, model.name, tools=TOOLS)
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content == {"openai": None, "anthropic": "Let me look."}[model.provider]
    check_calls(answer, model.provider)
    check_usage(answer, model.provider)


@both_streams("tools")
def test_tool_calls_keep_their_index_in_every_chunk(oai: openai.OpenAI, model: harness.Alias) -> None:
    first: dict[int, tuple[str | None, str | None]] = {}
    joined: dict[int, str] = {}
    for chunk in oai.chat.completions.create(model=model.name, messages=HELLO, tools=TOOLS, stream=True):
        for call in [call for choice in chunk.choices for call in choice.delta.tool_calls or []]:
            assert call.function is not None
            first.setdefault(call.index, (call.id, call.function.name))
            joined[call.index] = joined.get(call.index, "") + (call.function.arguments or "")
    assert first == dict(enumerate(CALLS[model.provider]))
    assert {index: json.loads(text) for index, text in joined.items()} == dict(enumerate(ARGUMENTS))


THINKING = "First, greet."
THINKING_BLOCKS = [
    {"type": "thinking", "thinking": THINKING, "signature": "c2lnbmF0dXJl"},
    {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="},
]


def test_thinking_arrives_with_its_signature(oai: openai.OpenAI) -> None:
    answer = oai.chat.completions.create(model=alias_of("anthropic-thinking"), messages=HELLO)
    message = answer.choices[0].message
    assert message.content == "Hello!"
    assert (message.model_extra or {})["reasoning_content"] == THINKING
    assert (message.model_extra or {})["thinking_blocks"] == THINKING_BLOCKS


@pytest.mark.parametrize(
    "model", [alias("anthropic-thinking-stream", *cut) for cut in CUTS], ids=lambda model: model.name
)
def test_thinking_streamed(oai: openai.OpenAI, model: harness.Alias) -> None:
    reasoning, content = "", ""
    blocks: list[dict[str, str]] = []
    for chunk in oai.chat.completions.create(model=model.name, messages=HELLO, stream=True):
        [delta] = [choice.delta for choice in chunk.choices]
        content += delta.content or ""
        reasoning += (delta.model_extra or {}).get("reasoning_content") or ""
        blocks += (delta.model_extra or {}).get("thinking_blocks") or []
    assert (reasoning, content) == (THINKING, "Hello!")
    # A client collects them: the signature, which the provider wants back, and the redacted block are among them.
    assert "".join(block.get("signature") or "" for block in blocks) == "c2lnbmF0dXJl"
    assert [block["data"] for block in blocks if block["type"] == "redacted_thinking"] == ["cmVkYWN0ZWQ="]


@pytest.mark.parametrize(
    "model", [alias("anthropic-thinking-stream", *cut) for cut in CUTS], ids=lambda model: model.name
)
def test_thinking_streamed_through_the_helper(oai: openai.OpenAI, model: harness.Alias) -> None:
    message = streamed(oai, model.name).choices[0].message
    extra = message.model_extra or {}
    assert (extra["reasoning_content"], message.content) == (THINKING, "Hello!")
    # The helper can only merge what has an index.
    want = [{"index": index, **block} for index, block in enumerate(THINKING_BLOCKS)]
    assert extra["thinking_blocks"] == want


ENDINGS = [
    ("openai-length", "Once upon a", "length"),
    ("openai-filter", "Partly", "content_filter"),
    ("anthropic-length", "Once upon a", "length"),
    ("anthropic-stop", "one two", "stop"),
    ("anthropic-refusal", "No.", "content_filter"),
]
ALIASES_BY_NAME = {name: alias(name) for name, _, _ in ENDINGS} | {
    name: alias(name) for name in ["anthropic-thinking", "openai-refusal", "openai-n2"]
}
STREAMS = {name: alias(f"{name}-stream") for name, _, _ in ENDINGS} | {
    name: alias(f"{name}-stream") for name in ["openai-refusal", "openai-n2"]
}


def alias_of(name: str) -> str:
    return ALIASES_BY_NAME[name].name


@pytest.mark.parametrize(("name", "text", "finish"), ENDINGS)
def test_why_it_ended(oai: openai.OpenAI, name: str, text: str, finish: str) -> None:
    answer = oai.chat.completions.create(model=alias_of(name), messages=HELLO)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (text, finish)


@pytest.mark.parametrize(("name", "text", "finish"), ENDINGS)
def test_why_a_stream_ended(oai: openai.OpenAI, name: str, text: str, finish: str) -> None:
    answer = streamed(oai, STREAMS[name].name)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (text, finish)


def test_a_refusal_is_not_content(oai: openai.OpenAI) -> None:
    for answer in (
        oai.chat.completions.create(model=alias_of("openai-refusal"), messages=HELLO),
        streamed(oai, STREAMS["openai-refusal"].name),
    ):
        assert answer.choices[0].message.refusal == "I can't help with that."
        assert not answer.choices[0].message.content
        assert answer.choices[0].finish_reason == "stop"


def test_two_choices(oai: openai.OpenAI) -> None:
    answer = oai.chat.completions.create(model=alias_of("openai-n2"), messages=HELLO, n=2)
    assert [(choice.index, choice.message.content) for choice in answer.choices] == [
        (0, "heads"),
        (1, "tails"),
    ]
    stream = oai.chat.completions.create(model=STREAMS["openai-n2"].name, messages=HELLO, n=2, stream=True)
    texts = {0: "", 1: ""}
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == {0: "heads", 1: "tails"}


def test_the_async_client(gateway: harness.Process) -> None:
    async def ask() -> str:
        async with openai.AsyncOpenAI(
            base_url=gateway.base + "/v1", api_key=harness.MASTER_KEY, max_retries=0
        ) as client:
            stream = await client.chat.completions.create(
                model="anthropic-text-stream", messages=HELLO, stream=True
            )
            return "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])

    assert asyncio.run(ask()) == TEXT


def test_the_models_are_the_aliases(oai: openai.OpenAI) -> None:
    assert {model.id for model in oai.models.list()} == set(harness.ALIASES)
    alias = sorted(harness.ALIASES)[0]
    assert oai.models.retrieve(alias).id == alias
    with pytest.raises(openai.NotFoundError, match="no model answers to the name"):
        oai.models.retrieve("nobody")
