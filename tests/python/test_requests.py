"""What the provider is sent: the translated request, one credential, and nothing else of the client's."""

from __future__ import annotations

import base64
import json
from typing import Any

import anthropic
import harness
import openai
import pytest
from harness import Alias, Seen, Upstream, alias

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n synthetic").decode()
OPENAI = alias("openai-text")
ANTHROPIC = alias("anthropic-text")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

CHAT: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is the weather here?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                {"type": "image_url", "image_url": {"url": "https://images.example/a.jpg"}},
            ],
        },
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'},
                },
                {
                    "id": "call_2",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'},
                },
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "call_2", "content": "rainy"},
        {"role": "user", "content": "And tomorrow?"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "get_weather", "description": "Weather of a city", "parameters": SCHEMA},
        }
    ],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "max_tokens": 64,
    "temperature": 0.5,
    "top_p": 0.9,
    "stop": ["END", "STOP"],
}
MESSAGES: dict[str, Any] = {
    "system": [{"type": "text", "text": "Be brief."}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is the weather here?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                {"type": "image", "source": {"type": "url", "url": "https://images.example/a.jpg"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Paris"}},
                {"type": "tool_use", "id": "call_2", "name": "get_weather", "input": {"city": "Rome"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": "rainy"},
                {"type": "text", "text": "And tomorrow?"},
            ],
        },
    ],
    "tools": [{"name": "get_weather", "description": "Weather of a city", "input_schema": SCHEMA}],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "max_tokens": 64,
    "temperature": 0.5,
    "top_p": 0.9,
    "stop_sequences": ["END", "STOP"],
}
"""The same conversation in both dialects."""


def as_parts(content: Any) -> Any:
    """A text's two spellings, a string and a list of one part, in the second."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def plain_messages(body: dict[str, Any]) -> dict[str, Any]:
    """An Anthropic request in one of its spellings."""
    body = json.loads(json.dumps(body))
    if "system" in body:
        body["system"] = as_parts(body["system"])
    for message in body["messages"]:
        message["content"] = as_parts(message["content"])
        for block in message["content"]:
            if block["type"] == "tool_result":
                block["content"] = as_parts(block["content"])
    for tool in body.get("tools", []):
        tool.setdefault("type", "custom")
    return body


def plain_chat(body: dict[str, Any]) -> dict[str, Any]:
    """An OpenAI request in one of its spellings."""
    body = json.loads(json.dumps(body))
    for message in body["messages"]:
        if message.get("content") is not None:
            message["content"] = as_parts(message["content"])
        for call in message.get("tool_calls", []):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        for part in message.get("content") or []:
            if part["type"] == "image_url":
                part["image_url"].pop("detail", None)
    return body


def check_head(seen: Seen, target: Alias, version: str = "2023-06-01") -> None:
    """The right path, the provider's one credential, and no header that only the client's hop knows."""
    openai = target.provider == "openai"
    assert seen.method == "POST"
    assert seen.path == target.path() + ("/v1/chat/completions" if openai else "/v1/messages")
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers.get("authorization") == (f"Bearer {target.provider_key}" if openai else None)
    assert seen.headers.get("x-api-key") == (None if openai else target.provider_key)
    assert seen.headers.get("anthropic-version") == (None if openai else version)
    for name, value in seen.headers.items():
        assert harness.MASTER_KEY not in value, f"the client's key went upstream in {name}"
        assert not name.startswith(("x-stainless", "x-client", "cookie")), (
            f"the client's {name} went upstream"
        )


CLIENT_HEADERS = {"x-client-note": "mine", "cookie": "session=1"}


def send_chat(client: openai.OpenAI, upstream: Upstream, target: Alias, **more: Any) -> Seen:
    with upstream.watch() as seen:
        client.chat.completions.create(model=target.name, extra_headers=CLIENT_HEADERS, **{**CHAT, **more})
        [one] = seen()
    check_head(one, target)
    return one


def typed(ask: dict[str, Any]) -> dict[str, Any]:
    """The same request for Anthropic's client, which no longer names every field that the API takes."""
    unnamed = ("temperature", "top_p")
    extra = {name: ask[name] for name in unnamed}
    return {name: value for name, value in ask.items() if name not in unnamed} | {"extra_body": extra}


def send_messages(client: anthropic.Anthropic, upstream: Upstream, target: Alias, **more: Any) -> Seen:
    with upstream.watch() as seen:
        ask = {**MESSAGES, **more}
        client.messages.create(model=target.name, extra_headers=CLIENT_HEADERS, **typed(ask))
        [one] = seen()
    check_head(one, target, str(client.default_headers["anthropic-version"]))
    return one


def test_chat_to_openai_changes_only_the_model(oai: openai.OpenAI, upstream: Upstream) -> None:
    assert send_chat(oai, upstream, OPENAI).json == {**CHAT, "model": OPENAI.model}


def test_chat_to_anthropic(oai: openai.OpenAI, upstream: Upstream) -> None:
    got = plain_messages(send_chat(oai, upstream, ANTHROPIC).json)
    want = plain_messages({**MESSAGES, "model": ANTHROPIC.model})
    assert got.pop("stream", False) is False
    assert got == want


def test_messages_to_anthropic_changes_only_the_model(
    claude: anthropic.Anthropic, upstream: Upstream
) -> None:
    assert send_messages(claude, upstream, ANTHROPIC).json == {**MESSAGES, "model": ANTHROPIC.model}


def test_messages_to_openai(claude: anthropic.Anthropic, upstream: Upstream) -> None:
    got = plain_chat(send_messages(claude, upstream, OPENAI).json)
    want = plain_chat({**CHAT, "model": OPENAI.model})
    # Both names of the output cap say the same; which one a model takes is the provider's business.
    caps = [got.pop(name) for name in ("max_tokens", "max_completion_tokens") if name in got]
    assert caps == [want.pop("max_tokens")]
    assert got.pop("stream", False) is False
    assert got == want


def test_a_developer_message_and_a_system_message_become_the_system(
    oai: openai.OpenAI, upstream: Upstream
) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "Hi."},
    ]
    got = plain_messages(send_chat(oai, upstream, ANTHROPIC, messages=messages).json)
    assert "\n".join(part["text"] for part in got["system"]).split("\n") == ["Be brief.", "Be kind."]
    assert got["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hi."}]}]


@pytest.mark.parametrize(
    ("choice", "want"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "get_weather"}}, {"type": "tool", "name": "get_weather"}),
    ],
)
def test_tool_choice_to_anthropic(oai: openai.OpenAI, upstream: Upstream, choice: Any, want: Any) -> None:
    seen = send_chat(oai, upstream, ANTHROPIC, tool_choice=choice, parallel_tool_calls=True)
    got = seen.json["tool_choice"]
    assert got.pop("disable_parallel_tool_use", False) is False
    assert got == want


@pytest.mark.parametrize(
    ("choice", "want"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "get_weather"}, {"type": "function", "function": {"name": "get_weather"}}),
    ],
)
def test_tool_choice_to_openai(
    claude: anthropic.Anthropic, upstream: Upstream, choice: Any, want: Any
) -> None:
    assert send_messages(claude, upstream, OPENAI, tool_choice=choice).json["tool_choice"] == want


def test_signed_thinking_goes_back_to_anthropic(oai: openai.OpenAI, upstream: Upstream) -> None:
    blocks = [
        {"type": "thinking", "thinking": "First, greet.", "signature": "c2lnbmF0dXJl"},
        {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="},
    ]
    messages = [
        {"role": "user", "content": "Hi."},
        {
            "role": "assistant",
            "content": "Hello!",
            "reasoning_content": "First, greet.",
            "thinking_blocks": blocks,
        },
        {"role": "user", "content": "Bye."},
    ]
    got = plain_messages(send_chat(oai, upstream, ANTHROPIC, messages=messages).json)
    assert got["messages"][1] == {
        "role": "assistant",
        "content": [*blocks, {"type": "text", "text": "Hello!"}],
    }


def test_a_streamed_answer_goes_back_as_the_sdk_put_it_together(
    oai: openai.OpenAI, upstream: Upstream
) -> None:
    question: Any = {"role": "user", "content": "Hi."}
    with oai.chat.completions.stream(model=STREAMED_THINKING.name, messages=[question]) as stream:
        answer: Any = stream.get_final_completion().choices[0].message
    seen = send_chat(oai, upstream, ANTHROPIC, messages=[question, answer, question])
    want = [
        {"type": "thinking", "thinking": "First, greet.", "signature": "c2lnbmF0dXJl"},
        {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="},
        {"type": "text", "text": "Hello!"},
    ]
    assert plain_messages(seen.json)["messages"][1] == {"role": "assistant", "content": want}


def test_cache_hints_reach_anthropic(oai: openai.OpenAI, upstream: Upstream) -> None:
    hint = {"type": "ephemeral"}
    part = {"type": "text", "text": "A long text.", "cache_control": hint}
    messages = [{"role": "system", "content": [part]}, {"role": "user", "content": [part]}]
    got = send_chat(oai, upstream, ANTHROPIC, messages=messages).json
    assert got["system"] == [part]
    assert got["messages"] == [{"role": "user", "content": [part]}]


def test_a_failed_tool_result_still_says_so(claude: anthropic.Anthropic, upstream: Upstream) -> None:
    messages = [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t1", "name": "get_weather", "input": {}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "no such city", "is_error": True}
            ],
        },
    ]
    got = plain_chat(send_messages(claude, upstream, OPENAI, messages=messages).json)
    assert got["messages"][-1]["role"] == "tool"
    assert got["messages"][-1]["tool_call_id"] == "t1"
    assert "no such city" in got["messages"][-1]["content"][0]["text"]


def test_n_is_refused_where_the_provider_has_none(oai: openai.OpenAI, upstream: Upstream) -> None:
    with upstream.watch() as seen:
        with pytest.raises(openai.BadRequestError) as caught:
            oai.chat.completions.create(model=ANTHROPIC.name, n=2, **CHAT)
        assert seen() == []
    assert caught.value.param == "n"


STREAMED = alias("openai-text-stream")
STREAMED_THINKING = alias("anthropic-thinking-stream")
STREAMED_ANTHROPIC = alias("anthropic-text-stream")


def test_usage_is_asked_for_in_the_callers_place(claude: anthropic.Anthropic, upstream: Upstream) -> None:
    with upstream.watch() as seen:
        with claude.messages.stream(model=STREAMED.name, **typed(MESSAGES)) as stream:
            stream.until_done()
        [one] = seen()
    assert one.json["stream"] is True
    assert one.json["stream_options"] == {"include_usage": True}


def test_a_stream_is_asked_of_anthropic_in_its_words(oai: openai.OpenAI, upstream: Upstream) -> None:
    with upstream.watch() as seen:
        options: Any = {"include_usage": True}
        list(
            oai.chat.completions.create(
                model=STREAMED_ANTHROPIC.name, stream=True, stream_options=options, **CHAT
            )
        )
        [one] = seen()
    assert one.json["stream"] is True
    assert "stream_options" not in one.json


def test_the_caller_cannot_choose_where_a_key_goes(oai: openai.OpenAI, upstream: Upstream) -> None:
    """`api_base` and `api_key` in a body are no setting: refused, or sent on to nobody."""
    elsewhere = {"api_base": "http://127.0.0.1:9/", "api_key": "sk-mine"}
    for target in (OPENAI, ANTHROPIC):
        with upstream.watch() as seen:
            try:
                oai.chat.completions.create(model=target.name, extra_body=elsewhere, **CHAT)
            except openai.BadRequestError:
                assert seen() == []
                continue
            [one] = seen()
        check_head(one, target)
        assert "sk-mine" not in json.dumps(one.headers)
