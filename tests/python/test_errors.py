"""Failures, as the SDKs' exceptions say them: the provider's, the gateway's own, and the ones that no JSON describes."""

from __future__ import annotations

import json
import time
from typing import Any

import anthropic
import harness
import openai
import pytest
from harness import Upstream, alias

CHAT: Any = {"messages": [{"role": "user", "content": "Hi."}]}
MESSAGES: Any = {"max_tokens": 10, **CHAT}

# Each failure of a provider: what the OpenAI client raises, with its status and code, and what the Anthropic client
# raises, with its status and type. The same dialect gets the provider's own status and words.
FAILURES: list[
    tuple[
        str,
        tuple[type[openai.APIStatusError], int, str | None],
        tuple[type[anthropic.APIStatusError], int, str],
    ]
] = [
    (
        "openai-400",
        (openai.BadRequestError, 400, "context_length_exceeded"),
        (anthropic.BadRequestError, 400, "invalid_request_error"),
    ),
    (
        "openai-401",
        (openai.AuthenticationError, 401, "invalid_api_key"),
        (anthropic.AuthenticationError, 401, "authentication_error"),
    ),
    (
        "openai-404",
        (openai.NotFoundError, 404, "model_not_found"),
        (anthropic.NotFoundError, 404, "not_found_error"),
    ),
    (
        "openai-429",
        (openai.RateLimitError, 429, "rate_limit_exceeded"),
        (anthropic.RateLimitError, 429, "rate_limit_error"),
    ),
    (
        "openai-500",
        (openai.InternalServerError, 500, None),
        (anthropic.InternalServerError, 500, "api_error"),
    ),
    (
        "openai-html",
        (openai.InternalServerError, 502, "upstream_error"),
        (anthropic.InternalServerError, 502, "api_error"),
    ),
    (
        "openai-html-ok",
        (openai.InternalServerError, 502, "upstream_error"),
        (anthropic.InternalServerError, 502, "api_error"),
    ),
    (
        "anthropic-400",
        (openai.BadRequestError, 400, "context_length_exceeded"),
        (anthropic.BadRequestError, 400, "invalid_request_error"),
    ),
    (
        "anthropic-401",
        (openai.AuthenticationError, 401, "invalid_api_key"),
        (anthropic.AuthenticationError, 401, "authentication_error"),
    ),
    (
        "anthropic-404",
        (openai.NotFoundError, 404, "model_not_found"),
        (anthropic.NotFoundError, 404, "not_found_error"),
    ),
    (
        "anthropic-429",
        (openai.RateLimitError, 429, "rate_limit_exceeded"),
        (anthropic.RateLimitError, 429, "rate_limit_error"),
    ),
    (
        "anthropic-500",
        (openai.InternalServerError, 500, "server_error"),
        (anthropic.InternalServerError, 500, "api_error"),
    ),
    (
        "anthropic-529",
        (openai.InternalServerError, 503, "overloaded"),
        (anthropic.OverloadedError, 529, "overloaded_error"),
    ),
    (
        "anthropic-html",
        (openai.InternalServerError, 502, "upstream_error"),
        (anthropic.InternalServerError, 502, "api_error"),
    ),
    (
        "anthropic-html-ok",
        (openai.InternalServerError, 502, "upstream_error"),
        (anthropic.InternalServerError, 502, "api_error"),
    ),
]
MODELS = {name: alias(name) for name, _, _ in FAILURES}
SAID = ["400", "404", "429", "500", "529"]
"""Where the provider's own message is for the caller too."""

each_failure = pytest.mark.parametrize(
    ("name", "chat", "messages"), FAILURES, ids=[name for name, _, _ in FAILURES]
)
each_way = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def provider_message(name: str) -> str:
    message: str = json.loads(harness.body_of(name))["error"]["message"]
    return message


@each_way
@each_failure
def test_the_openai_client_raises_its_own(
    oai: openai.OpenAI, name: str, chat: Any, messages: Any, stream: bool
) -> None:
    kind, status, code = chat
    with pytest.raises(openai.APIStatusError) as caught:
        oai.chat.completions.create(model=MODELS[name].name, stream=stream, **CHAT)
    error = caught.value
    assert (type(error), error.status_code, error.code) == (kind, status, code)
    assert error.type
    if name.endswith(tuple(SAID)):
        assert provider_message(name) in error.message
    if name.endswith("429"):
        assert error.response.headers["retry-after"] == "7"
    assert "127.0.0.1" not in error.message, "the upstream's address is nobody's business"


@each_way
@each_failure
def test_the_anthropic_client_raises_its_own(
    claude: anthropic.Anthropic, name: str, chat: Any, messages: Any, stream: bool
) -> None:
    kind, status, type_ = messages
    with pytest.raises(anthropic.APIStatusError) as caught:
        claude.messages.create(model=MODELS[name].name, stream=stream, **MESSAGES)
    error = caught.value
    assert (type(error), error.status_code, error.type) == (kind, status, type_)
    if name.endswith(tuple(SAID)):
        assert provider_message(name) in error.message
    if name.endswith("429"):
        assert error.response.headers["retry-after"] == "7"
    assert "127.0.0.1" not in error.message, "the upstream's address is nobody's business"


CLOSING = [
    alias(f"{provider}-text{kind}", "close")
    for provider in ("openai", "anthropic")
    for kind in ("", "-stream")
]


@pytest.mark.parametrize("model", CLOSING, ids=lambda model: model.name)
def test_a_provider_that_hangs_up_without_a_word(
    oai: openai.OpenAI, claude: anthropic.Anthropic, model: harness.Alias
) -> None:
    stream = model.name.endswith("-stream,close")
    with pytest.raises(openai.InternalServerError) as chat:
        oai.chat.completions.create(model=model.name, stream=stream, **CHAT)
    assert (chat.value.status_code, chat.value.code) == (502, "upstream_error")
    with pytest.raises(anthropic.InternalServerError) as messages:
        claude.messages.create(model=model.name, stream=stream, **MESSAGES)
    assert (messages.value.status_code, messages.value.type) == (502, "api_error")


SOON = [alias(f"{provider}-429-soon") for provider in ("openai", "anthropic")]


@pytest.mark.parametrize("model", SOON, ids=lambda model: model.name)
def test_a_client_that_retries_waits_as_long_as_the_provider_says(
    oai: openai.OpenAI, claude: anthropic.Anthropic, upstream: Upstream, model: harness.Alias
) -> None:
    """The one test with the SDKs' own retries: one retry, after the second that `retry-after` names."""
    began = time.monotonic()
    with upstream.watch() as seen:
        with pytest.raises(openai.RateLimitError):
            oai.with_options(max_retries=1).chat.completions.create(model=model.name, **CHAT)
        assert len(seen()) == 2, "one call and one retry, both the client's: the gateway itself made none"
        assert 1.0 <= time.monotonic() - began < 5.0
    began = time.monotonic()
    with upstream.watch() as seen:
        with pytest.raises(anthropic.RateLimitError):
            claude.with_options(max_retries=1).messages.create(model=model.name, **MESSAGES)
        assert len(seen()) == 2
        assert 1.0 <= time.monotonic() - began < 5.0


REACHABLE = alias("openai-text")


@pytest.mark.parametrize("key", ["sk-wrong", "sk-tes", "sk-testt"])
def test_a_wrong_key_reaches_nobody(
    oai: openai.OpenAI, claude: anthropic.Anthropic, upstream: Upstream, key: str
) -> None:
    with upstream.watch() as seen:
        with pytest.raises(openai.AuthenticationError) as chat:
            oai.with_options(api_key=key).chat.completions.create(model=REACHABLE.name, **CHAT)
        assert (chat.value.status_code, chat.value.code) == (401, "invalid_api_key")
        assert key not in chat.value.message
        with pytest.raises(anthropic.AuthenticationError) as messages:
            claude.with_options(api_key=key).messages.create(model=REACHABLE.name, **MESSAGES)
        assert messages.value.type == "authentication_error"
        assert key not in messages.value.message
        assert seen() == []


def test_the_key_may_come_in_anthropics_header(gateway: harness.Process, upstream: Upstream) -> None:
    body = {"model": REACHABLE.name, **MESSAGES}
    with upstream.watch() as seen:
        good = harness.post(
            gateway.base, "/v1/messages", body, authorization="", x_api_key=harness.MASTER_KEY
        )
        assert good.status == 200
        [one] = seen()
    assert "x-api-key" not in one.headers
    bad = harness.post(gateway.base, "/v1/messages", body, authorization="", x_api_key="sk-wrong")
    assert bad.status == 401


def test_an_unknown_model(oai: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    with pytest.raises(openai.NotFoundError) as chat:
        oai.chat.completions.create(model="no-such-model", **CHAT)
    assert chat.value.code == "model_not_found"
    with pytest.raises(anthropic.NotFoundError) as messages:
        claude.messages.create(model="no-such-model", **MESSAGES)
    assert messages.value.type == "not_found_error"


BAD_BODIES: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"{",
    "an array": b"[]",
    "null": b"null",
    "no model": b'{"messages":[{"role":"user","content":"x"}]}',
    "two models": b'{"model":"openai-text","model":"anthropic-text","messages":[{"role":"user","content":"x"}]}',
    "a text for messages": b'{"model":"openai-text","messages":"x"}',
    "not UTF-8": b'{"model":"openai-text","messages":[{"role":"user","content":"\xff"}]}',
    "200 levels": b'{"model":"openai-text","messages":' + b"[" * 200 + b"]" * 200 + b"}",
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_refused_in_the_callers_dialect(
    gateway: harness.Process, upstream: Upstream, name: str
) -> None:
    with upstream.watch() as seen:
        chat = harness.post(gateway.base, "/v1/chat/completions", BAD_BODIES[name])
        messages = harness.post(
            gateway.base, "/v1/messages", BAD_BODIES[name], anthropic_version="2023-06-01"
        )
        assert seen() == []
    assert (chat.status, messages.status) == (400, 400)
    assert chat.headers.get_content_type() == messages.headers.get_content_type() == "application/json"
    error = json.loads(chat.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    refused = json.loads(messages.body)
    assert (refused["type"], refused["error"]["type"]) == ("error", "invalid_request_error")
    assert refused["error"]["message"]
