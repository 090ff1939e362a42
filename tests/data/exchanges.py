#!/usr/bin/env python3
"""Writes `exchanges.json`: the small synthetic provider exchanges that the black-box suites replay.

We wrote them ourselves, in the shapes that the providers use; nothing in them was recorded. Change this file, then run
it; a test fails while the committed JSON differs from what this file says.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

OUT = pathlib.Path(__file__).with_name("exchanges.json")

# What several exchanges share, and the suites assert.
OPENAI_MODEL = "gpt-4o-2024-08-06"
ANTHROPIC_MODEL = "claude-sonnet-4-5-20250929"
PIECES = ["Hello", ", ", "wörld", " 🌍", "!"]
OPENAI_USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 5,
    "total_tokens": 25,
    "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0},
}
ANTHROPIC_USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 3,
    "cache_read_input_tokens": 7,
    "output_tokens": 5,
}

TRIP = {"city": "Paris", "days": 2}
"""What an answer in a form says."""

exchanges: list[dict[str, Any]] = []


def add(
    name: str,
    provider: str,
    format: str,
    body: str,
    *tags: str,
    status: int = 200,
    headers: dict[str, str] | None = None,
    asked: tuple[str, str] | None = None,
) -> None:
    """Adds one exchange in the shape of a recording; it is `asked` for at a path, of a model."""
    if provider == "openai":
        path, model = asked or ("/v1/chat/completions", OPENAI_MODEL)
    else:
        path, model = asked or ("/v1/messages", ANTHROPIC_MODEL)
    kind = {
        "sse": "text/event-stream; charset=utf-8",
        "json": "application/json",
        "html": "text/html",
        "mp3": "audio/mpeg",
    }[format]
    exchanges.append(
        {
            "id": name,
            "source": "synthetic",
            "license": "MIT OR Apache-2.0",
            "origin": "synthetic",
            "fidelity": "exact",
            "provider": provider,
            "endpoint": path.removeprefix("/v1/").replace("/", "."),
            "model": model,
            "format": format,
            "tags": [*tags, *(["stream"] if format == "sse" else [])],
            "request": {
                "method": "POST",
                "path": path,
                "headers": {"content-type": "application/json"},
                "body": {},
            },
            "response": {
                "status": status,
                "headers": {"content-type": kind, **(headers or {})},
                "body_base64": False,
                "body": body,
            },
        }
    )


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# ---- OpenAI chat completions ----


def choice(message: dict[str, Any], finish: str, index: int = 0) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "refusal": None, **message}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}


def completion(name: str, *choices: dict[str, Any], tags: tuple[str, ...] = ()) -> None:
    body = {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "created": 1754000000,
        "model": OPENAI_MODEL,
        "choices": choices,
        "usage": OPENAI_USAGE,
        "service_tier": "default",
        "system_fingerprint": "fp_synthetic",
    }
    add(name, "openai", "json", json.dumps(body, ensure_ascii=False, indent=2), *tags)


def chunks(
    name: str, deltas: list[tuple[int, dict[str, Any], str | None]], *tail: Any, tags: tuple[str, ...] = ()
) -> None:
    """A stream: one chunk a delta, the usage chunk, `[DONE]`; or, given a tail, the chunks and that."""
    head = {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion.chunk",
        "created": 1754000000,
        "model": OPENAI_MODEL,
        "system_fingerprint": "fp_synthetic",
    }
    events: list[Any] = []
    for index, delta, finish in deltas:
        one = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        events.append({**head, "choices": [one], "usage": None, "obfuscation": "x" * (len(events) % 4)})
    events += tail or [{**head, "choices": [], "usage": OPENAI_USAGE}, "[DONE]"]
    lines = [event if isinstance(event, str) else compact(event) for event in events]
    add(name, "openai", "sse", "".join(f"data: {line}\n\n" for line in lines), *tags)


def openai_error(name: str, status: int, type: str, code: str | None, message: str, **headers: str) -> None:
    body = {"error": {"message": message, "type": type, "param": None, "code": code}}
    renamed = {key.replace("_", "-"): value for key, value in headers.items()}
    add(name, "openai", "json", json.dumps(body, indent=4), "error", status=status, headers=renamed)


def call(index: int, id: str, name: str) -> dict[str, Any]:
    return {
        "tool_calls": [
            {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}
        ]
    }


def fragment(index: int, text: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}


START: tuple[int, dict[str, Any], None] = (0, {"role": "assistant", "content": "", "refusal": None}, None)
WEATHER = {
    "id": "call_weather1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city":"Paris","days":2}'},
}
CLOCK = {"id": "call_clock2", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}


def openai() -> None:
    completion("openai-text", choice({"content": "".join(PIECES)}, "stop"))
    chunks(
        "openai-text-stream", [START, *[(0, {"content": piece}, None) for piece in PIECES], (0, {}, "stop")]
    )
    completion("openai-tools", choice({"tool_calls": [WEATHER, CLOCK]}, "tool_calls"), tags=("tool_calls",))
    chunks(
        "openai-tools-stream",
        [
            (0, {"role": "assistant", "content": None}, None),
            (0, call(0, "call_weather1", "get_weather"), None),
            (0, fragment(0, '{"city":"Pa'), None),
            (0, fragment(0, 'ris","days":2}'), None),
            (0, call(1, "call_clock2", "get_time"), None),
            (0, fragment(1, "{}"), None),
            (0, {}, "tool_calls"),
        ],
        tags=("tool_calls",),
    )
    completion("openai-json", choice({"content": compact(TRIP)}, "stop"))
    completion("openai-refusal", choice({"refusal": "I can't help with that."}, "stop"))
    chunks(
        "openai-refusal-stream",
        [
            START,
            (0, {"refusal": "I can't "}, None),
            (0, {"refusal": "help with that."}, None),
            (0, {}, "stop"),
        ],
    )
    completion("openai-length", choice({"content": "Once upon a"}, "length"))
    chunks("openai-length-stream", [START, (0, {"content": "Once upon a"}, None), (0, {}, "length")])
    completion("openai-filter", choice({"content": "Partly"}, "content_filter"))
    chunks("openai-filter-stream", [START, (0, {"content": "Partly"}, None), (0, {}, "content_filter")])
    completion("openai-n2", choice({"content": "heads"}, "stop"), choice({"content": "tails"}, "stop", 1))
    chunks(
        "openai-n2-stream",
        [
            (0, {"role": "assistant", "content": ""}, None),
            (1, {"role": "assistant", "content": ""}, None),
            (0, {"content": "he"}, None),
            (1, {"content": "ta"}, None),
            (0, {"content": "ads"}, None),
            (1, {"content": "ils"}, None),
            (1, {}, "stop"),
            (0, {}, "stop"),
        ],
    )
    failure = {
        "error": {"message": "The server had an error.", "type": "server_error", "param": None, "code": None}
    }
    chunks(
        "openai-error-event", [START, (0, {"content": "Hel"}, None), (0, {"content": "lo"}, None)], failure
    )
    numbers: list[tuple[int, dict[str, Any], str | None]] = [
        (0, {"content": f"{n} "}, None) for n in range(60)
    ]
    chunks("openai-long-stream", [START, *numbers, (0, {}, "stop")])

    bad_key = "Incorrect API key provided: sk-***."
    openai_error(
        "openai-400", 400, "invalid_request_error", "context_length_exceeded", "Your input is too long."
    )
    openai_error("openai-401", 401, "invalid_request_error", "invalid_api_key", bad_key)
    openai_error(
        "openai-404", 404, "invalid_request_error", "model_not_found", "The model `m` does not exist."
    )
    openai_error("openai-429", 429, "requests", "rate_limit_exceeded", "Rate limit reached.", retry_after="7")
    openai_error(
        "openai-429-soon", 429, "requests", "rate_limit_exceeded", "Rate limit reached.", retry_after="1"
    )
    openai_error("openai-500", 500, "server_error", None, "The server had an error.")
    add("openai-html", "openai", "html", "<html><body>Bad gateway</body></html>", "error", status=502)
    add("openai-html-ok", "openai", "html", "<html><body>Please sign in</body></html>")
    heard = {"text": "Hello", "usage": {"type": "duration", "seconds": 2}}
    add(
        "openai-transcription",
        "openai",
        "json",
        compact(heard),
        asked=("/v1/audio/transcriptions", "whisper-1"),
    )
    usage = {"input_tokens": 5, "output_tokens": 100, "total_tokens": 105}
    drawn = {"created": 1754000000, "data": [{"b64_json": "AA=="}], "usage": usage}
    add(
        "openai-images",
        "openai",
        "json",
        compact(drawn),
        asked=("/v1/images/generations", "gpt-image-1"),
    )
    vectors = [{"object": "embedding", "index": index, "embedding": [0.5, index]} for index in range(2)]
    usage = {"prompt_tokens": 2, "total_tokens": 2}
    embedded = {"object": "list", "data": vectors, "model": "text-embedding-3-small", "usage": usage}
    add(
        "openai-embeddings",
        "openai",
        "json",
        compact(embedded),
        asked=("/v1/embeddings", "text-embedding-3-small"),
    )
    add("openai-speech", "openai", "mp3", "ID3 synthetic", asked=("/v1/audio/speech", "tts-1"))


# ---- Anthropic messages ----


def message(
    name: str,
    content: list[dict[str, Any]],
    stop: str,
    sequence: str | None = None,
    *,
    tags: tuple[str, ...] = (),
) -> None:
    body = {
        "id": f"msg_{name}",
        "type": "message",
        "role": "assistant",
        "model": ANTHROPIC_MODEL,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": sequence,
        "usage": ANTHROPIC_USAGE,
    }
    add(name, "anthropic", "json", compact(body), *tags)


def stream(
    name: str,
    blocks: list[list[dict[str, Any]]],
    stop: str | None,
    sequence: str | None = None,
    *,
    tail: dict[str, Any] | None = None,
    tags: tuple[str, ...] = (),
) -> None:
    """A stream: each block is its `content_block` and then its deltas; with a tail, it ends there and the block stays open."""
    start: dict[str, Any] = {
        "id": f"msg_{name}",
        "type": "message",
        "role": "assistant",
        "model": ANTHROPIC_MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**ANTHROPIC_USAGE, "output_tokens": 1},
    }
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for index, (block, *deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        if index == 0:
            events.append({"type": "ping"})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        if not tail:
            events.append({"type": "content_block_stop", "index": index})
    if tail:
        events.append(tail)
    else:
        delta = {"stop_reason": stop, "stop_sequence": sequence}
        events.append(
            {
                "type": "message_delta",
                "delta": delta,
                "usage": {"output_tokens": ANTHROPIC_USAGE["output_tokens"]},
            }
        )
        events.append({"type": "message_stop"})
    # The real ones pad some lines with blanks before the last brace.
    lines = [compact(event)[:-1] + " " * (n % 3) + "}" for n, event in enumerate(events)]
    body = "".join(
        f"event: {event['type']}\ndata: {line}\n\n" for event, line in zip(events, lines, strict=True)
    )
    add(name, "anthropic", "sse", body, *tags)


def anthropic_error(name: str, status: int, type: str, message: str, **headers: str) -> None:
    body = {"type": "error", "error": {"type": type, "message": message}, "request_id": f"req_{name}"}
    renamed = {key.replace("_", "-"): value for key, value in headers.items()}
    add(name, "anthropic", "json", compact(body), "error", status=status, headers=renamed)


def text(value: str) -> dict[str, Any]:
    return {"type": "text_delta", "text": value}


def arguments(value: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": value}


TEXT = {"type": "text", "text": ""}
WEATHER_USE = {"type": "tool_use", "id": "toolu_weather1", "name": "get_weather", "input": {}}
CLOCK_USE = {"type": "tool_use", "id": "toolu_clock2", "name": "get_time", "input": {}}
REDACTED = {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="}


def anthropic() -> None:
    message("anthropic-text", [{"type": "text", "text": "".join(PIECES)}], "end_turn")
    stream("anthropic-text-stream", [[TEXT, *map(text, PIECES)]], "end_turn")
    message(
        "anthropic-tools",
        [
            {"type": "text", "text": "Let me look."},
            {**WEATHER_USE, "input": {"city": "Paris", "days": 2}},
            CLOCK_USE,
        ],
        "tool_use",
        tags=("tool_calls",),
    )
    stream(
        "anthropic-tools-stream",
        [
            [TEXT, text("Let me "), text("look.")],
            [WEATHER_USE, arguments(""), arguments('{"city": "Pa'), arguments('ris", "days": 2}')],
            [CLOCK_USE, arguments("")],
        ],
        "tool_use",
        tags=("tool_calls",),
    )
    message("anthropic-json", [{"type": "text", "text": compact(TRIP)}], "end_turn")
    message(
        "anthropic-thinking",
        [
            {"type": "thinking", "thinking": "First, greet.", "signature": "c2lnbmF0dXJl"},
            REDACTED,
            {"type": "text", "text": "Hello!"},
        ],
        "end_turn",
    )
    stream(
        "anthropic-thinking-stream",
        [
            [
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "First, "},
                {"type": "thinking_delta", "thinking": "greet."},
                {"type": "signature_delta", "signature": "c2lnbmF0dXJl"},
            ],
            [REDACTED],
            [TEXT, text("Hello!")],
        ],
        "end_turn",
    )
    message("anthropic-stop", [{"type": "text", "text": "one two"}], "stop_sequence", "END")
    stream("anthropic-stop-stream", [[TEXT, text("one "), text("two")]], "stop_sequence", "END")
    message("anthropic-length", [{"type": "text", "text": "Once upon a"}], "max_tokens")
    stream("anthropic-length-stream", [[TEXT, text("Once upon a")]], "max_tokens")
    message("anthropic-refusal", [{"type": "text", "text": "No."}], "refusal")
    stream("anthropic-refusal-stream", [[TEXT, text("No.")]], "refusal")
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    stream("anthropic-error-event", [[TEXT, text("Hel"), text("lo")]], None, tail=overloaded)
    stream("anthropic-long-stream", [[TEXT, *[text(f"{n} ") for n in range(60)]]], "end_turn")

    no_retry = {"x_should_retry": "false"}
    too_long = "prompt is too long: 200001 tokens > 200000 maximum"
    anthropic_error("anthropic-400", 400, "invalid_request_error", too_long, **no_retry)
    anthropic_error("anthropic-401", 401, "authentication_error", "invalid x-api-key", **no_retry)
    anthropic_error("anthropic-404", 404, "not_found_error", "model: m", **no_retry)
    anthropic_error("anthropic-429", 429, "rate_limit_error", "Number of requests exceeded.", retry_after="7")
    anthropic_error(
        "anthropic-429-soon", 429, "rate_limit_error", "Number of requests exceeded.", retry_after="1"
    )
    anthropic_error("anthropic-500", 500, "api_error", "Internal server error")
    anthropic_error("anthropic-529", 529, "overloaded_error", "Overloaded")
    add("anthropic-html", "anthropic", "html", "<html><body>Bad gateway</body></html>", "error", status=502)
    add("anthropic-html-ok", "anthropic", "html", "<html><body>Please sign in</body></html>")


def render() -> str:
    """The committed file's text."""
    exchanges.clear()
    openai()
    anthropic()
    return json.dumps(exchanges, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    OUT.write_text(render(), encoding="utf-8")
