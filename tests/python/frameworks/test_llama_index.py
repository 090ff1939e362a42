"""LlamaIndex through the gateway: its class for OpenAI, with nothing but address and key of ours. That for Anthropic takes no names but Claude's."""

from __future__ import annotations

from typing import Any

import harness
import openai
import pytest
from harness import alias
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI

TEXT = "Hello, wörld 🌍!"
PROVIDERS = ["openai", "anthropic"]
IDS = {
    "openai": ["call_weather1", "call_clock2"],
    "anthropic": ["toolu_weather1", "toolu_clock2"],
}
CALLS: Any = [("get_weather", {"city": "Paris", "days": 2}), ("get_time", {})]
HELLO = [ChatMessage(role="user", content="Say hello.")]


def get_weather(city: str, days: int) -> str:
    """Tells the weather."""
    return f"fine in {city} for {days} days"


def get_time() -> str:
    """Tells the time."""
    return "noon"


TOOLS: Any = [FunctionTool.from_defaults(get_weather), FunctionTool.from_defaults(get_time)]


def chat(base: str, key: str, model: str) -> FunctionCallingLLM:
    # It knows OpenAI's models by name, and takes the window of one of them for ours.
    class Aliased(OpenAI):
        def _get_model_name(self) -> str:
            return "gpt-4o"

    return Aliased(model=model, api_base=base + "/v1", api_key=key, max_retries=0)


def both(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("model", [alias(f"{each}-{name}") for each in PROVIDERS], ids=PROVIDERS)


@both("text")
def test_an_answer(gateway: harness.Process, model: harness.Alias) -> None:
    assert chat(gateway.base, harness.MASTER_KEY, model.name).chat(HELLO).message.content == TEXT


@both("text-stream")
def test_a_stream(gateway: harness.Process, model: harness.Alias) -> None:
    pieces = [piece.delta for piece in chat(gateway.base, harness.MASTER_KEY, model.name).stream_chat(HELLO)]
    assert "".join(piece or "" for piece in pieces) == TEXT
    assert sum(1 for piece in pieces if piece) == 5


@both("tools")
def test_a_round_of_tool_calls(
    gateway: harness.Process, upstream: harness.Upstream, model: harness.Alias
) -> None:
    llm = chat(gateway.base, harness.MASTER_KEY, model.name)
    answer = llm.chat_with_tools(TOOLS, allow_parallel_tool_calls=True, chat_history=HELLO)
    calls = llm.get_tool_calls_from_response(answer)
    assert [(call.tool_name, call.tool_kwargs) for call in calls] == CALLS
    assert [call.tool_id for call in calls] == IDS[model.provider]
    results = [
        ChatMessage(role="tool", content="fine", additional_kwargs={"tool_call_id": call.tool_id})
        for call in calls
    ]
    with upstream.watch() as seen:
        llm.chat_with_tools(TOOLS, allow_parallel_tool_calls=True, chat_history=[*HELLO, answer.message, *results])
        [one] = seen()
    ids = IDS[model.provider]
    assert harness.calls_and_results(one.json["messages"], model.provider) == (ids, ids)


@both("tools-stream")
def test_streamed_tool_calls(gateway: harness.Process, model: harness.Alias) -> None:
    llm = chat(gateway.base, harness.MASTER_KEY, model.name)
    *_, last = llm.stream_chat_with_tools(TOOLS, allow_parallel_tool_calls=True, chat_history=HELLO)
    calls = llm.get_tool_calls_from_response(last)
    assert [(call.tool_name, call.tool_kwargs) for call in calls] == CALLS


@both("429")
def test_a_refusal_has_its_class(gateway: harness.Process, model: harness.Alias) -> None:
    with pytest.raises(openai.RateLimitError):
        chat(gateway.base, harness.MASTER_KEY, model.name).chat(HELLO)


def test_a_wrong_key(gateway: harness.Process) -> None:
    with pytest.raises(openai.AuthenticationError):
        chat(gateway.base, "sk-wrong", "openai-text").chat(HELLO)
