"""What providers say, by the dialect that they speak: a turn as an answer, whole or as a stream.

A turn is what such an answer holds of it: a message, a content, the items of an output.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Said = dict[str, Any]


def whole(dialect: str, model: str, turn: Said) -> Said:
    if dialect == "messages":
        frame = {"id": "msg_1", "type": "message", "role": "assistant", "model": model}
        usage = {"input_tokens": 1, "output_tokens": 1}
        return frame | {"stop_reason": stop_reason(turn), "content": turn["content"], "usage": usage}
    if dialect == "gemini":
        return chunk_of_gemini(model, turn["parts"], "STOP")
    if dialect == "responses":
        items = [{"id": f"item_{at}", "status": "completed"} | item for at, item in enumerate(turn["output"])]
        output = [{"type": "message", **item} if "role" in item else item for item in items]
        frame = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": model}
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        return frame | {"output": output, "usage": usage}
    if dialect == "cohere":
        ends = "TOOL_CALL" if turn.get("tool_calls") else "COMPLETE"
        return {"id": "c1", "finish_reason": ends, "message": turn}
    choice = {"index": 0, "message": turn, "finish_reason": finish_reason(turn)}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}


def stream(dialect: str, model: str, turn: Said) -> str:
    """The same as events, its texts and arguments in two pieces."""
    events = {"messages": of_messages, "gemini": of_gemini, "cohere": of_cohere, "chat": of_chat}[dialect]
    lines = []
    for event in events(model, turn):
        if dialect in ("messages", "cohere"):
            lines.append(f"event: {event['type']}\n")
        lines.append(f"data: {json.dumps(event)}\n\n")
    if dialect == "chat":
        lines.append("data: [DONE]\n\n")
    return "".join(lines)


def halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [half for half in (text[:middle], text[middle:]) if half]


def stop_reason(turn: Said) -> str:
    return "tool_use" if any(block["type"] == "tool_use" for block in turn["content"]) else "end_turn"


def of_messages(model: str, turn: Said) -> Iterator[Said]:
    message = whole("messages", model, turn) | {"content": [], "stop_reason": None}
    yield {"type": "message_start", "message": message}
    for at, block in enumerate(turn["content"]):
        start, deltas = begun(block)
        yield {"type": "content_block_start", "index": at, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": at, "delta": delta}
        yield {"type": "content_block_stop", "index": at}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason(turn), "stop_sequence": None},
        "usage": {"output_tokens": 1},
    }
    yield {"type": "message_stop"}


def begun(block: Said) -> tuple[Said, list[Said]]:
    """How a block of Anthropic's begins, and what is added to it."""
    kind = block["type"]
    if kind == "text":
        return block | {"text": ""}, [{"type": "text_delta", "text": it} for it in halves(block["text"])]
    if kind == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": it} for it in halves(block["thinking"])]
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return block | {"thinking": "", "signature": ""}, [*deltas, signed]
    if kind in ("tool_use", "server_tool_use"):
        pieces = halves(json.dumps(block["input"]))
        return block | {"input": {}}, [{"type": "input_json_delta", "partial_json": it} for it in pieces]
    return block, []


def chunk_of_gemini(model: str, parts: list[Said], finish: str | None) -> Said:
    candidate: Said = {"index": 0, "content": {"role": "model", "parts": parts}}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "responseId": "r1", "modelVersion": model}


def of_gemini(model: str, turn: Said) -> Iterator[Said]:
    parts: list[Said] = []
    for part in turn["parts"]:
        # A signature stands on the last piece.
        first = [{name: it for name, it in part.items() if name != "thoughtSignature"}]
        pieces = halves(part.get("text", ""))
        rest = [part | {"text": pieces[-1]}] if len(pieces) > 1 else [part]
        parts += [each | {"text": pieces[0]} for each in first if len(pieces) > 1] + rest
    for at, part in enumerate(parts):
        yield chunk_of_gemini(model, [part], "STOP" if at + 1 == len(parts) else None)


def finish_reason(turn: Said) -> str:
    return "tool_calls" if turn.get("tool_calls") else "stop"


def of_chat(model: str, turn: Said) -> Iterator[Said]:
    def chunk(delta: Said, finish: str | None = None) -> Said:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        frame = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model}
        return frame | {"choices": [choice]}

    yield chunk({"role": "assistant", "content": ""})
    thoughts = {name: halves(turn.get(name) or "") for name in ("reasoning_content", "reasoning")}
    for at in range(2):
        # Who has a thought under two names has both in a chunk.
        if delta := {name: pieces[at] for name, pieces in thoughts.items() if len(pieces) > at}:
            yield chunk(delta)
    for detail in turn.get("reasoning_details") or []:
        yield chunk({"reasoning_details": [detail]})
    for piece in halves(turn.get("content") or ""):
        yield chunk({"content": piece})
    for at, call in enumerate(turn.get("tool_calls") or []):
        function = call["function"]
        yield chunk({"tool_calls": [call | {"index": at, "function": function | {"arguments": ""}}]})
        for piece in halves(function["arguments"]):
            yield chunk({"tool_calls": [{"index": at, "function": {"arguments": piece}}]})
    yield chunk({}, finish_reason(turn))


def of_cohere(model: str, turn: Said) -> Iterator[Said]:
    yield {"type": "message-start", "id": "c1", "delta": {"message": {"role": "assistant", "content": []}}}
    at = 0
    for part in turn.get("content") or []:
        content = {"type": "text", "text": ""}
        yield {"type": "content-start", "index": at, "delta": {"message": {"content": content}}}
        for piece in halves(part["text"]):
            yield {"type": "content-delta", "index": at, "delta": {"message": {"content": {"text": piece}}}}
        yield {"type": "content-end", "index": at}
        at += 1
    for at, call in enumerate(turn.get("tool_calls") or [], at):
        function = call["function"]
        start = call | {"function": function | {"arguments": ""}}
        yield {"type": "tool-call-start", "index": at, "delta": {"message": {"tool_calls": start}}}
        for piece in halves(function["arguments"]):
            calls = {"function": {"arguments": piece}}
            yield {"type": "tool-call-delta", "index": at, "delta": {"message": {"tool_calls": calls}}}
        yield {"type": "tool-call-end", "index": at}
    ends = "TOOL_CALL" if turn.get("tool_calls") else "COMPLETE"
    yield {"type": "message-end", "id": "c1", "delta": {"finish_reason": ends}}
