"""Streams that do not end well, byte-exact pass-through, and clients that leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import anthropic
import harness
import openai
import pytest
from harness import Alias, Seen, Upstream, alias, body_of, end_of_event

CHAT: Any = {"messages": [{"role": "user", "content": "Hi."}]}
MESSAGES: Any = {"max_tokens": 100, **CHAT}
BOTH = ("openai", "anthropic")


def read_chat(client: openai.OpenAI, model: Alias) -> Iterator[str]:
    """The text of a stream, piece by piece."""
    for chunk in client.chat.completions.create(model=model.name, stream=True, **CHAT):
        for choice in chunk.choices:
            assert choice.finish_reason is None, "an end that the provider did not give"
            if choice.delta.content:
                yield choice.delta.content


def read_messages(client: anthropic.Anthropic, model: Alias) -> Iterator[str]:
    """The text of a stream, piece by piece."""
    for event in client.messages.create(model=model.name, stream=True, **MESSAGES):
        assert event.type not in ("message_delta", "message_stop"), "an end that the provider did not give"
        if event.type == "content_block_delta" and event.delta.type == "text_delta":
            yield event.delta.text


def heard(pieces: Iterator[str], failure: type[Exception]) -> tuple[list[str], Any]:
    """What arrived before the failure, and the failure."""
    got: list[str] = []
    with pytest.raises(failure) as caught:
        for piece in pieces:
            got.append(piece)
    return got, caught.value


# ---- streams that are cut ----


def cuts(provider: str) -> dict[str, tuple[str, set[str]]]:
    """Places to cut a provider's text stream, with what may have passed by then."""
    name = f"{provider}-text-stream"
    body = body_of(name)
    after_two = end_of_event(name, '", "')
    return {
        "between events": (f"cut={after_two}", {"Hello, "}),
        "within the first line": (f"cut={after_two + 20}", {"Hello, "}),
        "within the data": (f"cut={body.index(b'rld')}", {"Hello, "}),
        "before the end": (f"cut={end_of_event(name, '!')}", {"Hello, wörld 🌍!"}),
        "within a character": (f"cut={body.index('🌍'.encode()) + 2}", {"Hello, wörld"}),
        "by a close": (f"close={after_two}", {"Hello, "}),
        # What a reset overtakes is lost: with time between the events, that is the last one at most.
        "by a reset": (f"events,pace=50ms,reset={after_two}", {"Hello", "Hello, "}),
    }


CUT = {
    (provider, where): (alias(f"{provider}-text-stream", fault), passed)
    for provider in BOTH
    for where, (fault, passed) in cuts(provider).items()
}
each_cut = pytest.mark.parametrize(("provider", "where"), CUT, ids=lambda each: each.replace(" ", "-"))


@each_cut
def test_a_cut_stream_is_an_error_to_the_openai_client(oai: openai.OpenAI, provider: str, where: str) -> None:
    model, passed = CUT[provider, where]
    got, error = heard(read_chat(oai, model), openai.APIError)
    assert "".join(got) in passed
    assert not isinstance(error, openai.APIStatusError | openai.APIConnectionError)
    assert (error.type, error.code) == ("server_error", "upstream_truncated")


@each_cut
def test_a_cut_stream_is_an_error_to_the_anthropic_client(
    claude: anthropic.Anthropic, provider: str, where: str
) -> None:
    model, passed = CUT[provider, where]
    got, error = heard(read_messages(claude, model), anthropic.APIStatusError)
    assert "".join(got) in passed
    assert error.type == "api_error"


@each_cut
def test_a_cut_stream_has_no_terminator(gateway: harness.Process, provider: str, where: str) -> None:
    model, _ = CUT[provider, where]
    chat = harness.post(gateway.base, "/v1/chat/completions", {"model": model.name, "stream": True, **CHAT})
    messages = harness.post(gateway.base, "/v1/messages", {"model": model.name, "stream": True, **MESSAGES})
    assert (chat.status, messages.status) == (200, 200)
    assert b"[DONE]" not in chat.body
    assert b"message_stop" not in messages.body
    assert chat.body.count(b'"error"') == 1
    assert messages.body.count(b"event: error") == 1
    assert chat.body.endswith(b"\n\n")
    assert messages.body.endswith(b"\n\n")


FINISHED = alias("openai-text-stream", f"cut={end_of_event('openai-text-stream', 'cached_tokens')}")


def test_only_the_done_line_may_be_missing(oai: openai.OpenAI, gateway: harness.Process) -> None:
    with oai.chat.completions.stream(model=FINISHED.name, **CHAT) as stream:
        answer = stream.get_final_completion()
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (
        "Hello, wörld 🌍!",
        "stop",
    )
    whole = harness.post(
        gateway.base, "/v1/chat/completions", {"model": FINISHED.name, "stream": True, **CHAT}
    )
    assert whole.body.endswith(b"data: [DONE]\n\n")


# ---- streams whose provider gives up ----

GIVES_UP = {provider: alias(f"{provider}-error-event") for provider in BOTH}


@pytest.mark.parametrize("provider", BOTH)
def test_an_error_event_reaches_the_openai_client(oai: openai.OpenAI, provider: str) -> None:
    got, error = heard(read_chat(oai, GIVES_UP[provider]), openai.APIError)
    assert got == ["Hel", "lo"]
    assert error.message == {"openai": "The server had an error.", "anthropic": "Overloaded"}[provider]
    assert error.type == "server_error"


@pytest.mark.parametrize("provider", BOTH)
def test_an_error_event_reaches_the_anthropic_client(claude: anthropic.Anthropic, provider: str) -> None:
    got, error = heard(read_messages(claude, GIVES_UP[provider]), anthropic.APIStatusError)
    assert got == ["Hel", "lo"]
    assert error.type == {"openai": "api_error", "anthropic": "overloaded_error"}[provider]
    assert error.api_message == {"openai": "The server had an error.", "anthropic": "Overloaded"}[provider]


# ---- the same dialect on both sides ----

SAME = [
    alias(name)
    for name, row in harness.EXCHANGES.items()
    if "error" not in row["tags"]
    and row["format"] != "html"
    and row["endpoint"] in ("chat.completions", "messages")
]


@pytest.mark.parametrize("model", SAME, ids=lambda model: model.name)
def test_the_bytes_pass_through(gateway: harness.Process, model: Alias) -> None:
    stream = harness.EXCHANGES[model.recording]["format"] == "sse"
    if model.provider == "openai":
        body: Any = {"model": model.name, **CHAT}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        answer = harness.post(gateway.base, "/v1/chat/completions", body)
    else:
        answer = harness.post(
            gateway.base, "/v1/messages", {"model": model.name, "stream": stream, **MESSAGES}
        )
    assert answer.status == 200
    assert answer.body == body_of(model.recording)


# ---- clients that leave ----

LONG = {provider: alias(f"{provider}-long-stream", "events", "pace=100ms") for provider in BOTH}


def openai_pieces(stream: openai.Stream[Any]) -> Iterator[str]:
    for chunk in stream:
        yield from (choice.delta.content for choice in chunk.choices if choice.delta.content)


def anthropic_pieces(stream: anthropic.Stream[Any]) -> Iterator[str]:
    for event in stream:
        if event.type == "content_block_delta":
            yield event.delta.text


def check_left(seen: Callable[[], list[Seen]], model: Alias) -> None:
    """The provider is left too, within the event that was on its way."""

    def ended() -> Seen | None:
        [one] = seen()
        return one if one.ending is not None else None

    one = harness.wait_for(ended, "the upstream still streams to a caller that left")
    assert one.ending == "peer_closed"
    # Three events were read; a fourth may have been on its way, and the write after it finds nobody.
    assert one.written <= end_of_event(model.recording, '"5 "')


@pytest.mark.parametrize("provider", BOTH)
def test_an_openai_client_that_leaves(oai: openai.OpenAI, upstream: Upstream, provider: str) -> None:
    with upstream.watch() as seen:
        stream = oai.chat.completions.create(model=LONG[provider].name, stream=True, **CHAT)
        assert list(islice(openai_pieces(stream), 3)) == ["0 ", "1 ", "2 "]
        stream.close()
        check_left(seen, LONG[provider])


@pytest.mark.parametrize("provider", BOTH)
def test_an_anthropic_client_that_leaves(
    claude: anthropic.Anthropic, upstream: Upstream, provider: str
) -> None:
    with upstream.watch() as seen:
        stream = claude.messages.create(model=LONG[provider].name, stream=True, **MESSAGES)
        assert list(islice(anthropic_pieces(stream), 3)) == ["0 ", "1 ", "2 "]
        stream.close()
        check_left(seen, LONG[provider])


# ---- what the gateway says about all that ----


def test_no_key_is_ever_printed(oai: openai.OpenAI, gateway: harness.Process) -> None:
    for model in (GIVES_UP["openai"], LONG["anthropic"]):
        stream = oai.chat.completions.create(model=model.name, stream=True, **CHAT)
        next(iter(stream))
        stream.close()
    printed = "".join(gateway.output)
    for secret in (harness.MASTER_KEY, *(model.provider_key for model in GIVES_UP.values())):
        assert secret not in printed
