"""The official `google-genai` client through the gateway: OpenAI and Anthropic behind it, whole answers and streams."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import harness
import pydantic
import pytest
from google import genai
from google.genai import errors, types
from harness import alias

TEXT = "Hello, wörld 🌍!"
PIECES = ["Hello", ", ", "wörld", " 🌍", "!"]
PROVIDERS = ["openai", "anthropic"]
CUTS: list[tuple[str, ...]] = [(), ("rechunk=1",)]
IDS = {
    "openai": ["call_weather1", "call_clock2"],
    "anthropic": ["toolu_weather1", "toolu_clock2"],
}
CALLS = [("get_weather", {"city": "Paris", "days": 2}), ("get_time", {})]
CACHED = {"openai": 8, "anthropic": 7}
TOOLS: Any = types.GenerateContentConfig(
    tools=[
        types.Tool(
            function_declarations=[
                types.FunctionDeclaration(
                    name="get_weather",
                    parameters=types.Schema(
                        type=types.Type.OBJECT,
                        properties={
                            "city": types.Schema(type=types.Type.STRING),
                            "days": types.Schema(type=types.Type.INTEGER),
                        },
                        required=["city"],
                    ),
                ),
                types.FunctionDeclaration(name="get_time"),
            ]
        )
    ]
)


class Trip(pydantic.BaseModel):
    """What the model is to answer with."""

    city: str
    days: int


EMBEDDINGS = alias("openai-embeddings")


def both(name: str, *faults: str) -> pytest.MarkDecorator:
    models = [alias(f"{each}-{name}", *faults) for each in PROVIDERS]
    return pytest.mark.parametrize("model", models, ids=PROVIDERS)


def both_streams(name: str) -> pytest.MarkDecorator:
    models = [alias(f"{each}-{name}-stream", *cut) for each in PROVIDERS for cut in CUTS]
    return pytest.mark.parametrize("model", models, ids=lambda model: model.name)


def client_of(gateway: harness.Process, key: str) -> genai.Client:
    # What fails is told as it is, not tried again.
    options = types.HttpOptions(base_url=gateway.base, timeout=15_000)
    return genai.Client(vertexai=False, api_key=key, http_options=options)


@pytest.fixture
def google(gateway: harness.Process) -> Iterator[genai.Client]:
    """Google's own client: only its address and key are ours."""
    with client_of(gateway, harness.MASTER_KEY) as client:
        yield client


def check_usage(answer: types.GenerateContentResponse, provider: str) -> None:
    usage = answer.usage_metadata
    assert usage is not None
    counts = (usage.prompt_token_count, usage.total_token_count, usage.cached_content_token_count)
    assert counts == (20, 25, CACHED[provider])
    assert (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0) == 5


@both("text")
def test_text(google: genai.Client, model: harness.Alias) -> None:
    answer = google.models.generate_content(model=model.name, contents="Say hello.")
    assert answer.text == TEXT
    assert answer.candidates is not None
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    check_usage(answer, model.provider)


@both_streams("text")
def test_text_streamed(google: genai.Client, model: harness.Alias) -> None:
    chunks = list(google.models.generate_content_stream(model=model.name, contents="Say hello."))
    assert [chunk.text for chunk in chunks if chunk.text] == PIECES
    [candidate] = chunks[-1].candidates or []
    assert candidate.finish_reason == types.FinishReason.STOP
    check_usage(chunks[-1], model.provider)


@both("tools")
def test_a_round_of_tool_calls(
    google: genai.Client, upstream: harness.Upstream, model: harness.Alias
) -> None:
    answer = google.models.generate_content(model=model.name, contents="Look.", config=TOOLS)
    calls = answer.function_calls or []
    assert [(call.name, call.args) for call in calls] == CALLS
    assert [call.id for call in calls] == IDS[model.provider]
    assert answer.candidates is not None and answer.candidates[0].content is not None
    results = [
        types.Part(
            function_response=types.FunctionResponse(id=call.id, name=call.name, response={"result": "fine"})
        )
        for call in calls
    ]
    turns: list[Any] = [
        types.Content(role="user", parts=[types.Part(text="Look.")]),
        answer.candidates[0].content,
        types.Content(role="user", parts=results),
    ]
    with upstream.watch() as seen:
        google.models.generate_content(model=model.name, contents=turns, config=TOOLS)
        [one] = seen()
    ids = IDS[model.provider]
    assert harness.calls_and_results(one.json["messages"], model.provider) == (ids, ids)


@both_streams("tools")
def test_tool_calls_streamed(google: genai.Client, model: harness.Alias) -> None:
    stream = google.models.generate_content_stream(model=model.name, contents="Look.", config=TOOLS)
    calls = [call for chunk in stream for call in chunk.function_calls or []]
    assert [(call.name, call.args) for call in calls] == CALLS
    assert [call.id for call in calls] == IDS[model.provider]


@both("json")
def test_an_answer_in_a_form(google: genai.Client, upstream: harness.Upstream, model: harness.Alias) -> None:
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Trip)
    with upstream.watch() as seen:
        answer = google.models.generate_content(model=model.name, contents="Where?", config=config)
        [one] = seen()
    assert answer.parsed == Trip(city="Paris", days=2)
    asked = one.json
    if model.provider == "openai":
        schema = asked["response_format"]["json_schema"]["schema"]
    else:
        schema = asked["output_config"]["format"]["schema"]
    assert schema["type"] == "object" and sorted(schema["properties"]) == ["city", "days"]


@both("text")
def test_tokens_are_counted(google: genai.Client, model: harness.Alias) -> None:
    counted = google.models.count_tokens(model=model.name, contents="Say hello.")
    # 3 for the answer's beginning, 3 for the turn, 1 for its role and 4 for its ten bytes.
    assert counted.total_tokens == 11


def test_embeddings(google: genai.Client, upstream: harness.Upstream) -> None:
    with upstream.watch() as seen:
        config = types.EmbedContentConfig(output_dimensionality=2)
        answer = google.models.embed_content(model=EMBEDDINGS.name, contents=["a", "b"], config=config)
        [one] = seen()
    assert [each.values for each in answer.embeddings or []] == [[0.5, 0.0], [0.5, 1.0]]
    assert one.path.endswith("/v1/embeddings")
    assert one.json == {"model": EMBEDDINGS.model, "input": ["a", "b"], "dimensions": 2}


def test_what_an_embedding_cannot_be_asked(google: genai.Client) -> None:
    config = types.EmbedContentConfig(task_type="CLUSTERING")
    with pytest.raises(errors.ClientError) as caught:
        google.models.embed_content(model=EMBEDDINGS.name, contents=["a", "b"], config=config)
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    assert "`taskType`" in str(caught.value)


@both("429")
def test_a_refusal_has_its_class_and_its_code(google: genai.Client, model: harness.Alias) -> None:
    with pytest.raises(errors.ClientError) as caught:
        google.models.generate_content(model=model.name, contents="Say hello.")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")


@both("500")
def test_a_failure_has_its_class(google: genai.Client, model: harness.Alias) -> None:
    with pytest.raises(errors.ServerError) as caught:
        google.models.generate_content(model=model.name, contents="Say hello.")
    assert caught.value.code == 500


def test_a_wrong_key(gateway: harness.Process) -> None:
    with client_of(gateway, "sk-wrong") as stranger, pytest.raises(errors.ClientError) as caught:
        stranger.models.generate_content(model="openai-text", contents="Say hello.")
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


def test_the_key_in_the_query(gateway: harness.Process) -> None:
    """Where Google's clients in other languages put it."""
    body = {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]}
    path = "/v1beta/models/openai-text:generateContent"
    answer = harness.post(gateway.base, f"{path}?key={harness.MASTER_KEY}", body, authorization="")
    assert answer.status == 200
    refused = harness.post(gateway.base, f"{path}?key=sk-wrong", body, authorization="")
    assert (refused.status, json.loads(refused.body)["error"]["status"]) == (401, "UNAUTHENTICATED")
