"""Recorded conversations with thoughts and tools, held once more by a client of another dialect.

Each turn of the model's is answered by a provider that says what it said then; the SDK hears it through the gateway, and
sends it back with the next question. In the end the provider must be asked what it was asked in the recording: signatures,
ids and calls as they were.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness
import providers
import pytest
from callers import CLIENTS, RESULT

SHARED = harness.recordings_folder()
pytestmark = pytest.mark.skipif(SHARED is None, reason="no recorded traffic here")

DIALECTS = {
    "messages": "messages",
    "chat.completions": "chat",
    "generateContent": "gemini",
    "streamGenerateContent": "gemini",
    "responses": "responses",
    "v2.chat": "cohere",
}
"""What the provider of an endpoint speaks."""

CALLERS = ["chat", "responses", "messages", "gemini"]

PROVIDERS = {
    "vertex": "gemini",
    "openai_compatible": "openai",
    "vercel-gateway": "vercel_ai_gateway",
    "zai": "zai",
}
"""What the config calls a provider, where it is not what the recordings call it or a variant of it."""

BASES = {"messages": "", "gemini": "/v1beta", "cohere": "/v2/chat", "chat": "/v1", "responses": "/v1"}
"""What stands behind the address in `api_base`."""

HOW = ["whole", "stream"]
STREAMS = {"messages", "gemini", "cohere", "chat"}
"""Whose answers are told as streams, too: Responses pass to their callers as they are."""

Said = tuple[Any, ...]


@dataclass(frozen=True)
class Talk:
    """A recorded request whose conversation has several turns."""

    id: str
    provider: str
    endpoint: str
    model: str
    body: dict[str, Any]

    @property
    def dialect(self) -> str:
        return DIALECTS[self.endpoint]

    def alias(self, turn: int, how: str) -> str:
        return f"{self.id}.{turn}.{how}"

    @property
    def turns(self) -> list[tuple[str, Any]]:
        return turns_of(self, self.body)

    @property
    def answers(self) -> int:
        """How many turns the model has had."""
        return sum(who == "model" for who, _ in self.turns)


def talks() -> list[Talk]:
    found = []
    for path in sorted(SHARED.glob("*.json")) if SHARED else []:
        row = json.loads(path.read_text(encoding="utf-8"))
        tags = set(row["tags"])
        if {"multi_turn", "tools"} <= tags and tags & {"reasoning", "signature", "reasoning_param"}:
            provider = PROVIDERS.get(row["variant"]) or PROVIDERS.get(row["provider"], row["provider"])
            found.append(Talk(row["id"], provider, row["endpoint"], row["model"], row["request"]["body"]))
    return found


TALKS = talks()


# ---- what was said, by dialect ----
#
# A conversation is a list of ("user" | "model" | "results", what was said). A model's turn is kept as its provider wrote it.


def parts_of(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])


def turns_of(talk: Talk, body: dict[str, Any]) -> list[tuple[str, Any]]:
    read = {"messages": of_messages, "gemini": of_gemini, "responses": of_responses}.get(
        talk.dialect, of_chat
    )
    return list(read(body))


def of_messages(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for message in body["messages"]:
        parts = parts_of(message["content"])
        if message["role"] == "assistant":
            yield "model", {"content": parts}
            continue
        results = [part for part in parts if part["type"] == "tool_result"]
        if results:
            yield "results", [(each["tool_use_id"], None, text_of(each["content"])) for each in results]
        if others := [part for part in parts if part["type"] != "tool_result"]:
            yield "user", [user_part(part) for part in others]


def of_chat(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    results: list[Any] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            results.append((message["tool_call_id"], None, text_of(message["content"])))
            continue
        if results:
            yield "results", results
            results = []
        if message["role"] == "assistant":
            yield "model", message
        elif message["role"] == "user":
            yield "user", [user_part(part) for part in parts_of(message["content"])]
    if results:
        yield "results", results


def of_gemini(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for content in body["contents"]:
        parts = [{CAMEL.get(name, name): value for name, value in part.items()} for part in content["parts"]]
        if content["role"] == "model":
            yield "model", {"role": "model", "parts": parts}
            continue
        found = [part["functionResponse"] for part in parts if "functionResponse" in part]
        if found:
            yield "results", [(each.get("id"), each["name"], each["response"]) for each in found]
        if others := [part for part in parts if "functionResponse" not in part]:
            yield "user", [user_part(part) for part in others]


CAMEL = {
    "function_call": "functionCall",
    "function_response": "functionResponse",
    "inline_data": "inlineData",
    "mime_type": "mimeType",
}
"""Google takes both spellings."""


def of_responses(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    turn: list[Any] = []
    results: list[Any] = []
    for item in body["input"]:
        kind = item.get("type", "message")
        if kind == "function_call_output":
            results.append((item["call_id"], None, item["output"]))
        is_model = kind in ("reasoning", "function_call") or item.get("role") == "assistant"
        if is_model:
            if results:
                yield "results", results
                results = []
            turn.append(item)
        elif turn:
            yield "model", {"output": turn}
            turn = []
        if kind == "message" and item["role"] == "user":
            if results:
                yield "results", results
                results = []
            yield "user", [user_part(part) for part in parts_of(item["content"])]
    if results:
        yield "results", results


def text_of(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return "".join(part["text"] if part["type"] == "text" else json.dumps(part) for part in content)


def user_part(part: dict[str, Any]) -> tuple[str, ...]:
    """("text", it) or ("image", media type, base64)."""
    if "text" in part:
        return ("text", part["text"])
    if "inlineData" in part:
        blob = {CAMEL.get(name, name): value for name, value in part["inlineData"].items()}
        return ("image", blob["mimeType"], blob["data"])
    if part["type"] == "image":
        return ("image", part["source"]["media_type"], part["source"]["data"])
    # What the provider alone knows is a text to all others.
    return ("text", json.dumps(part, sort_keys=True))


# ---- the provider, which says what it said then ----


LAST = {
    "messages": {"content": [{"type": "text", "text": "done"}]},
    "gemini": {"role": "model", "parts": [{"text": "done"}]},
    "responses": {
        "output": [
            {"role": "assistant", "content": [{"type": "output_text", "text": "done", "annotations": []}]}
        ]
    },
    "chat": {"role": "assistant", "content": "done"},
    "cohere": {"role": "assistant", "content": [{"type": "text", "text": "done"}]},
}
"""The answer to what is asked in the end."""


def write_turns(path: Path) -> None:
    """The exchanges of the replay upstream: one for each turn of a model, and one for what is asked in the end."""
    rows = []
    for talk in TALKS:
        said = [turn for who, turn in talk.turns if who == "model"]
        for at, turn in enumerate([*said, LAST[talk.dialect]]):
            whole = json.dumps(providers.whole(talk.dialect, talk.model, turn))
            answers = {"whole": ("application/json", whole)}
            if talk.dialect in STREAMS:
                answers["stream"] = ("text/event-stream", providers.stream(talk.dialect, talk.model, turn))
            for how, (label, body) in answers.items():
                answer = {"status": 200, "headers": {"content-type": label}, "body": body}
                rows.append({"id": talk.alias(at, how), "response": answer})
    path.write_text(json.dumps(rows), encoding="utf-8")


def config(upstream: str) -> str:
    lines = ["model_list:"]
    for talk in TALKS:
        for alias in [talk.alias(at, how) for how in HOW for at in range(talk.answers + 1)]:
            lines += [
                f"  - model_name: {alias}",
                "    litellm_params:",
                f"      model: {talk.provider}/{talk.model}",
                f"      api_base: {upstream}/r/{alias}{BASES[talk.dialect]}",
                "      api_key: k",
                # Callers of Responses are answered by what was recorded, which is chats but for one provider.
                f"      use_chat_completions_api: {json.dumps(talk.dialect != 'responses')}",
            ]
    return "\n".join([*lines, "general_settings:", f"  master_key: {harness.MASTER_KEY}", ""])


@dataclass(frozen=True)
class Stage:
    gateway: harness.Process
    upstream: harness.Upstream


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    path = tmp_path_factory.mktemp("turns") / "exchanges.json"
    write_turns(path)
    with (
        harness.start_upstream("--synthetic", path) as upstream,
        harness.start_gateway(config(upstream.base)) as gateway,
    ):
        yield Stage(gateway, harness.Upstream(upstream))


# ---- the callers ----


def names_of(turns: list[tuple[str, Any]]) -> list[str]:
    """The tools that a conversation calls."""
    found = set()
    for who, turn in turns:
        if who == "model":
            found |= {
                each["name"]
                for each in turn.get("content") or []
                if isinstance(each, dict) and each["type"] == "tool_use"
            }
            found |= {each["function"]["name"] for each in turn.get("tool_calls") or []}
            found |= {
                each["functionCall"]["name"] for each in turn.get("parts", []) if "functionCall" in each
            }
            found |= {each["name"] for each in turn.get("output", []) if each.get("type") == "function_call"}
    return sorted(found)


# ---- the judge ----


def said(talk: Talk, body: dict[str, Any]) -> list[Said]:
    """What a provider was told, one by one: neither how it is laid out, nor in which form JSON and base64 are written."""
    found: list[Said] = []
    calls: list[Any] = []
    for who, turn in turns_of(talk, body):
        if who == "user":
            found += [("user", kind, *rest[:-1], standard(rest[-1])) for kind, *rest in turn]
        elif who == "results":
            # A result names its call by its id, or at Google, where ids are left out, by its function.
            for call, name, result in turn:
                at = next(at for at, each in enumerate(calls) if each == (call or name))
                calls[at] = None
                found.append(("result", at, name, parsed(result)))
        else:
            for kind, *rest in PIECES[talk.dialect](turn):
                if kind == "call":
                    id, *rest = rest
                    calls.append(id or rest[0])
                    rest = [id if talk.dialect != "gemini" else None, *rest]
                if kind == "text" and talk.dialect == "gemini" and (before := unsigned(found, rest)):
                    # What Google's caller has in the pieces of a stream goes back to Google as it is.
                    found[-1] = ("text", before + rest[0], *rest[1:])
                else:
                    found.append((kind, *rest))
    return found


def unsigned(found: list[Said], text: list[Any]) -> str:
    """The text that another one of Google's goes on with: not signed, and a thought where that is one."""
    last = found[-1]
    return last[1] if last[0] == "text" and last[2:] == (text[1], "") else ""


def parsed(value: Any) -> Any:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value
    return parsed(found[RESULT]) if isinstance(found, dict) and set(found) == {RESULT} else found


def standard(data: str) -> str:
    return data.replace("-", "+").replace("_", "/")


def pieces_of_messages(turn: dict[str, Any]) -> Iterator[Said]:
    for block in turn["content"]:
        if block["type"] == "tool_use":
            yield "call", block["id"], block["name"], block["input"]
        elif block["type"] == "thinking":
            yield "thinking", block["thinking"], block["signature"]
        elif block["type"] == "text":
            yield "text", block["text"]
        else:
            yield block["type"], block


def pieces_of_gemini(turn: dict[str, Any]) -> Iterator[Said]:
    for part in turn["parts"]:
        signature = standard(part.get("thoughtSignature") or part.get("thought_signature") or "")
        if "functionCall" in part:
            call = part["functionCall"]
            yield "call", call.get("id"), call["name"], call["args"], signature
        elif part["text"] or signature:
            yield "text", part["text"], part.get("thought", False), signature


def pieces_of_responses(turn: dict[str, Any]) -> Iterator[Said]:
    for item in turn["output"]:
        if item.get("type") == "function_call":
            yield "call", item["call_id"], item["name"], parsed(item["arguments"])
        elif item.get("type") == "reasoning":
            yield "reasoning", [part["text"] for part in item["summary"]], item["encrypted_content"]
        else:
            yield "text", "".join(part["text"] for part in item["content"])


THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks", "tool_plan")


def pieces_of_chat(turn: dict[str, Any]) -> Iterator[Said]:
    for name in THOUGHTS:
        if thought := turn.get(name):
            yield name, thought
    if text := "".join(part["text"] for part in parts_of(turn.get("content"))):
        yield "text", text
    for call in turn.get("tool_calls") or []:
        yield "call", call["id"], call["function"]["name"], parsed(call["function"]["arguments"])


PIECES: Any = {
    "messages": pieces_of_messages,
    "gemini": pieces_of_gemini,
    "responses": pieces_of_responses,
    "chat": pieces_of_chat,
    "cohere": pieces_of_chat,
}


# Only callers of Responses reach a provider's Responses; all others are answered by its chats.
HELD = [
    (talk, caller, how)
    for talk in TALKS
    for caller in CALLERS
    for how in HOW
    if talk.dialect in STREAMS or (caller, how) == ("responses", "whole")
]
IDS = [f"{talk.id}-{caller}-{how}" for talk, caller, how in HELD]


@pytest.mark.parametrize(("talk", "caller", "how"), HELD, ids=IDS)
def test_the_provider_is_asked_as_it_was(stage: Stage, talk: Talk, caller: str, how: str) -> None:
    held = CLIENTS[caller](stage.gateway.base, names_of(talk.turns), streams=how == "stream")
    answers = (talk.alias(at, how) for at in range(talk.answers + 1))
    with held.client, stage.upstream.watch() as seen:
        for who, turn in talk.turns:
            if who == "user":
                held.user(turn)
            elif who == "results":
                held.results(turn)
            else:
                held.ask(next(answers))
        held.ask(next(answers))
        last = seen()[-1]
    heard, want = said(talk, last.json), said(talk, talk.body)
    reason = harness.excused("turns", caller).get(talk.id)
    if reason is None:
        assert heard == want
    else:
        assert heard != want, f"listed as an exception ({reason}), and it passes"
