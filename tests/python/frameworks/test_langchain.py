"""LangChain through the gateway: its classes for OpenAI, Anthropic and Google, each with nothing but address and key of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
import harness
import openai
import pydantic
import pytest
from harness import alias
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_google_genai.chat_models import ChatGoogleGenerativeAIError
from langchain_openai import ChatOpenAI

TEXT = "Hello, wörld 🌍!"
PROVIDERS = ["openai", "anthropic"]
IDS = {
    "openai": ["call_weather1", "call_clock2"],
    "anthropic": ["toolu_weather1", "toolu_clock2"],
}
CALLS: Any = [("get_weather", {"city": "Paris", "days": 2}), ("get_time", {})]

Make = Callable[[str, str, str], BaseChatModel]


class Trip(pydantic.BaseModel):
    """What the model is to answer with."""

    city: str
    days: int


@tool
def get_weather(city: str, days: int) -> str:
    """Tells the weather."""
    return f"fine in {city} for {days} days"


@tool
def get_time() -> str:
    """Tells the time."""
    return "noon"


TOOLS = [get_weather, get_time]


def chat(base: str, key: str, model: str) -> BaseChatModel:
    return ChatOpenAI(model=model, base_url=base + "/v1", api_key=key, max_retries=0, stream_usage=True)


def responses(base: str, key: str, model: str) -> BaseChatModel:
    options: Any = {"use_responses_api": True, "max_retries": 0}
    return ChatOpenAI(model=model, base_url=base + "/v1", api_key=key, **options)


def messages(base: str, key: str, model: str) -> BaseChatModel:
    options: Any = {"model_name": model, "max_tokens_to_sample": 100, "max_retries": 0}
    return ChatAnthropic(base_url=base, api_key=key, **options)


def generate(base: str, key: str, model: str) -> BaseChatModel:
    return ChatGoogleGenerativeAI(model=model, base_url=base, api_key=key, max_retries=1)


MAKERS: list[Make] = [chat, responses, messages, generate]
each_class = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


def both(name: str) -> pytest.MarkDecorator:
    # OpenAI's provider serves Responses itself; the one that is replayed here has chats.
    models = [alias(f"{each}-{name}", settings=("use_chat_completions_api: true",)) for each in PROVIDERS]
    return pytest.mark.parametrize("model", models, ids=PROVIDERS)


@each_class
@both("text")
def test_an_answer(gateway: harness.Process, make: Make, model: harness.Alias) -> None:
    answer = make(gateway.base, harness.MASTER_KEY, model.name).invoke("Say hello.")
    assert isinstance(answer, AIMessage)
    assert answer.text == TEXT
    usage = answer.usage_metadata
    assert usage is not None and (usage["input_tokens"], usage["output_tokens"]) == (20, 5)


@each_class
@both("text-stream")
def test_a_stream(gateway: harness.Process, make: Make, model: harness.Alias) -> None:
    chunks = list(make(gateway.base, harness.MASTER_KEY, model.name).stream("Say hello."))
    assert "".join(chunk.text for chunk in chunks) == TEXT
    assert sum(1 for chunk in chunks if chunk.text) == 5
    counts = [chunk.usage_metadata for chunk in chunks if isinstance(chunk, AIMessage) and chunk.usage_metadata]
    assert sum(count["output_tokens"] for count in counts) == 5


@each_class
@both("tools")
def test_a_round_of_tool_calls(
    gateway: harness.Process, upstream: harness.Upstream, make: Make, model: harness.Alias
) -> None:
    bound = make(gateway.base, harness.MASTER_KEY, model.name).bind_tools(TOOLS)
    answer = bound.invoke("Look.")
    assert isinstance(answer, AIMessage)
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == CALLS
    assert [call["id"] for call in answer.tool_calls] == IDS[model.provider]
    results = [ToolMessage("fine", tool_call_id=call["id"], name=call["name"]) for call in answer.tool_calls]
    turns: list[BaseMessage] = [HumanMessage("Look."), answer, *results]
    with upstream.watch() as seen:
        bound.invoke(turns)
        [one] = seen()
    called, answered = harness.calls_and_results(one.json["messages"], model.provider)
    assert called == answered
    # Its class for Google hands ids back to nobody: results answer by their order.
    assert len(answered) == 2 and (answered == IDS[model.provider] or make is generate)


@each_class
@both("tools-stream")
def test_streamed_tool_calls(gateway: harness.Process, make: Make, model: harness.Alias) -> None:
    bound = make(gateway.base, harness.MASTER_KEY, model.name).bind_tools(TOOLS)
    first, *rest = bound.stream("Look.")
    answer: Any = first
    for chunk in rest:
        answer += chunk
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == CALLS
    assert [call["id"] for call in answer.tool_calls] == IDS[model.provider]


@each_class
@both("json")
def test_an_answer_in_a_form(gateway: harness.Process, make: Make, model: harness.Alias) -> None:
    llm = make(gateway.base, harness.MASTER_KEY, model.name)
    assert llm.with_structured_output(Trip, method="json_schema").invoke("Where?") == Trip(city="Paris", days=2)


FAILURES: dict[str, tuple[type[Exception], type[Exception]]] = {
    "chat": (openai.RateLimitError, openai.AuthenticationError),
    "responses": (openai.RateLimitError, openai.AuthenticationError),
    "messages": (anthropic.RateLimitError, anthropic.AuthenticationError),
    "generate": (ChatGoogleGenerativeAIError, ChatGoogleGenerativeAIError),
}


@each_class
@both("429")
def test_a_refusal_has_its_class(gateway: harness.Process, make: Make, model: harness.Alias) -> None:
    with pytest.raises(FAILURES[make.__name__][0], match="429"):
        make(gateway.base, harness.MASTER_KEY, model.name).invoke("Say hello.")


@each_class
def test_a_wrong_key(gateway: harness.Process, make: Make) -> None:
    with pytest.raises(FAILURES[make.__name__][1], match="401"):
        make(gateway.base, "sk-wrong", "openai-text").invoke("Say hello.")
