"""OpenAI's client asks for embeddings: of OpenAI, and of providers with words of their own for them."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import harness
import openai
import pytest

NUMBERS = [[0.1, -0.25], [1e-05, 0.3]]
"""What the providers answer: of the numbers but one none is a 32-bit float, as which base64 has them."""

LIST: dict[str, Any] = {"object": "list", "model": "m", "usage": {"prompt_tokens": 7, "total_tokens": 7}}


def packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def unpacked(text: str) -> list[float]:
    raw = base64.b64decode(text)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def listed(vectors: list[Any]) -> dict[str, Any]:
    return LIST | {
        "data": [{"object": "embedding", "index": at, "embedding": it} for at, it in enumerate(vectors)]
    }


ROUNDED = [unpacked(packed(vector)) for vector in NUMBERS]


@dataclass(frozen=True)
class Provider:
    """What it is called, where it is asked, what with besides the texts, and what it answers."""

    model: str
    base: str
    path: str
    asked: dict[str, Any]
    answer: dict[str, Any]
    tokens: int


def asked_of_google(dimensions: int) -> dict[str, Any]:
    model = "models/gemini-embedding-001"
    return {
        "requests": [
            {"model": model, "content": {"parts": [{"text": it}]}, "outputDimensionality": dimensions}
            for it in ("a", "b")
        ]
    }


PROVIDERS = {
    "openai": Provider(
        "openai/text-embedding-3-small",
        "/v1",
        "/v1/embeddings",
        {"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 2},
        listed(NUMBERS),
        7,
    ),
    "openai-base64": Provider(
        "openai/text-embedding-3-small",
        "/v1",
        "/v1/embeddings",
        {"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 2},
        listed([packed(vector) for vector in NUMBERS]),
        7,
    ),
    # Which does not tell what it counted: a letter is a token.
    "gemini": Provider(
        "gemini/gemini-embedding-001",
        "/v1beta",
        "/v1beta/models/gemini-embedding-001:batchEmbedContents",
        asked_of_google(2),
        {"embeddings": [{"values": vector} for vector in NUMBERS]},
        2,
    ),
    "cohere": Provider(
        "cohere/embed-v4.0",
        "",
        "/v2/embed",
        {
            "model": "embed-v4.0",
            "texts": ["a", "b"],
            "input_type": "search_document",
            "embedding_types": ["float"],
            "output_dimension": 2,
        },
        {"id": "c", "embeddings": {"float": NUMBERS}, "meta": {"billed_units": {"input_tokens": 5}}},
        5,
    ),
    "ollama": Provider(
        "ollama/nomic-embed-text",
        "",
        "/api/embed",
        {"model": "nomic-embed-text", "input": ["a", "b"], "dimensions": 2},
        {"model": "nomic-embed-text", "embeddings": NUMBERS, "prompt_eval_count": 6},
        6,
    ),
}

FAILURES: dict[str, tuple[int, dict[str, Any], type[openai.APIStatusError]]] = {
    "openai": (
        429,
        {"error": {"message": "too many", "type": "requests", "code": None}},
        openai.RateLimitError,
    ),
    "gemini": (
        404,
        {"error": {"code": 404, "message": "too many", "status": "NOT_FOUND"}},
        openai.NotFoundError,
    ),
    "cohere": (429, {"id": "e", "message": "too many"}, openai.RateLimitError),
    "ollama": (400, {"error": "too many"}, openai.BadRequestError),
}


@dataclass(frozen=True)
class Stage:
    client: openai.OpenAI
    upstream: harness.Upstream


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    def row(name: str, status: int, answer: dict[str, Any]) -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        return {"id": name, "response": {"status": status, "headers": headers, "body": json.dumps(answer)}}

    rows = [row(name, 200, each.answer) for name, each in PROVIDERS.items()]
    rows += [row(f"{name}-fails", status, answer) for name, (status, answer, _) in FAILURES.items()]
    path = tmp_path_factory.mktemp("embeddings") / "exchanges.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    with harness.start_upstream("--synthetic", path) as upstream:
        models = {row["id"]: PROVIDERS[row["id"].removesuffix("-fails")] for row in rows}
        lines = ["model_list:"]
        for name, provider in models.items():
            lines += [
                f"  - model_name: {name}",
                "    litellm_params:",
                f"      model: {provider.model}",
                f"      api_base: {upstream.base}/r/{name}{provider.base}",
                "      api_key: k",
            ]
        settings = ["general_settings:", f"  master_key: {harness.MASTER_KEY}"]
        settings += ["router_settings:", "  num_retries: 0", ""]
        with (
            harness.start_gateway("\n".join(lines + settings)) as gateway,
            openai.OpenAI(
                base_url=gateway.base + "/v1", api_key=harness.MASTER_KEY, max_retries=0, timeout=15.0
            ) as client,
        ):
            yield Stage(client, harness.Upstream(upstream))


def expected(name: str, encoding: str | None) -> list[Any]:
    """The client reads base64 where it has asked for it by itself, and leaves to its caller what that one asked for."""
    if name == "openai" or (encoding == "float" and name != "openai-base64"):
        return NUMBERS
    return ROUNDED if encoding is None else [packed(vector) for vector in NUMBERS]


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
@pytest.mark.parametrize("name", PROVIDERS)
def test_vectors_are_the_providers(stage: Stage, name: str, encoding: Any) -> None:
    provider = PROVIDERS[name]
    options: Any = {"encoding_format": encoding} if encoding else {}
    with stage.upstream.watch() as seen:
        answer = stage.client.embeddings.create(model=name, input=["a", "b"], dimensions=2, **options)
        [one] = seen()
    assert one.path == f"/r/{name}{provider.path}"
    if provider.model.startswith("openai/"):
        # OpenAI is asked as its client asks, which wants base64 unless it is told otherwise, and answers as it likes.
        assert one.json == provider.asked | {"encoding_format": encoding or "base64"}
    else:
        assert one.json == provider.asked
    assert [item.index for item in answer.data] == [0, 1]
    assert [item.embedding for item in answer.data] == expected(name, encoding)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (provider.tokens, provider.tokens)


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_has_its_class(stage: Stage, name: str) -> None:
    status, _, kind = FAILURES[name]
    with pytest.raises(kind) as caught:
        stage.client.embeddings.create(model=f"{name}-fails", input="a")
    assert caught.value.status_code == status
    assert "too many" in caught.value.message


def test_what_a_provider_cannot_be_asked(stage: Stage) -> None:
    with stage.upstream.watch() as seen, pytest.raises(openai.BadRequestError) as caught:
        stage.client.embeddings.create(model="cohere", input=[1, 2, 3])
    assert seen() == []
    assert caught.value.param == "input"
