"""The official SDKs as clients that hold a conversation, each in its dialect.

Each keeps what it heard as its makers tell callers to, and sends all of it back with the next question. What a user says is a list
of ("text", it) and ("image", media type, base64); results come in the order of the calls.
"""

from __future__ import annotations

import json
from typing import Any

import anthropic
import harness
import openai
from google import genai
from google.genai import types

SCHEMA = {"type": "object", "properties": {}}

RESULT = "result_of_the_tool"
"""Where Google's client puts a tool's result that is no object."""


def plain(result: Any) -> str:
    return result if isinstance(result, str) else json.dumps(result)


class Chat:
    """OpenAI's client, and its chats."""

    def __init__(self, base: str, tools: list[str], *, streams: bool) -> None:
        self.streams = streams
        self.client = openai.OpenAI(
            base_url=base + "/v1", api_key=harness.MASTER_KEY, max_retries=0, timeout=15.0
        )
        self.tools: Any = [
            {"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in tools
        ]
        self.history: list[Any] = []
        self.calls: list[str] = []

    def user(self, parts: list[tuple[str, ...]]) -> None:
        content = []
        for kind, *rest in parts:
            if kind == "image":
                content.append(
                    {"type": "image_url", "image_url": {"url": f"data:{rest[0]};base64,{rest[1]}"}}
                )
            else:
                content.append({"type": "text", "text": rest[0]})
        self.history.append({"role": "user", "content": content})

    def results(self, results: list[Any]) -> None:
        for call, (_, _, result) in zip(self.calls, results, strict=True):
            self.history.append({"role": "tool", "tool_call_id": call, "content": plain(result)})

    def ask(self, model: str) -> None:
        tools: Any = {"tools": self.tools} if self.tools else {}
        ask: Any = {"model": model, "messages": self.history, **tools}
        if self.streams:
            with self.client.chat.completions.stream(**ask) as stream:
                answer: Any = stream.get_final_completion()
        else:
            answer = self.client.chat.completions.create(**ask)
        message = answer.choices[0].message
        self.history.append(message)
        self.calls = [call.id for call in message.tool_calls or []]


class Responses:
    """OpenAI's client, and its Responses."""

    def __init__(self, base: str, tools: list[str], *, streams: bool) -> None:
        self.streams = streams
        self.client = openai.OpenAI(
            base_url=base + "/v1", api_key=harness.MASTER_KEY, max_retries=0, timeout=15.0
        )
        self.tools: Any = [{"type": "function", "name": name, "parameters": SCHEMA} for name in tools]
        self.history: list[Any] = []
        self.calls: list[str] = []

    def user(self, parts: list[tuple[str, ...]]) -> None:
        content = []
        for kind, *rest in parts:
            if kind == "image":
                content.append({"type": "input_image", "image_url": f"data:{rest[0]};base64,{rest[1]}"})
            else:
                content.append({"type": "input_text", "text": rest[0]})
        self.history.append({"role": "user", "content": content})

    def results(self, results: list[Any]) -> None:
        for call, (_, _, result) in zip(self.calls, results, strict=True):
            self.history.append({"type": "function_call_output", "call_id": call, "output": plain(result)})

    def ask(self, model: str) -> None:
        tools: Any = {"tools": self.tools} if self.tools else {}
        ask: Any = {"model": model, "input": self.history, "store": False, **tools}
        ask["include"] = ["reasoning.encrypted_content"]
        if self.streams:
            stream: Any = self.client.responses.create(**ask, stream=True)
            answer: Any = next(event.response for event in stream if event.type == "response.completed")
            stream.close()
        else:
            answer = self.client.responses.create(**ask)
        self.history += answer.output
        self.calls = [item.call_id for item in answer.output if item.type == "function_call"]


class Messages:
    """Anthropic's client."""

    def __init__(self, base: str, tools: list[str], *, streams: bool) -> None:
        self.streams = streams
        self.client = anthropic.Anthropic(
            base_url=base, api_key=harness.MASTER_KEY, max_retries=0, timeout=15.0
        )
        self.tools: Any = [{"name": name, "input_schema": SCHEMA} for name in tools]
        self.history: list[Any] = []
        self.calls: list[str] = []

    def add(self, content: list[Any]) -> None:
        if self.history and self.history[-1]["role"] == "user":
            self.history[-1]["content"] += content
        else:
            self.history.append({"role": "user", "content": content})

    def user(self, parts: list[tuple[str, ...]]) -> None:
        for kind, *rest in parts:
            if kind == "image":
                source = {"type": "base64", "media_type": rest[0], "data": rest[1]}
                self.add([{"type": "image", "source": source}])
            else:
                self.add([{"type": "text", "text": rest[0]}])

    def results(self, results: list[Any]) -> None:
        for call, (_, _, result) in zip(self.calls, results, strict=True):
            self.add([{"type": "tool_result", "tool_use_id": call, "content": plain(result)}])

    def ask(self, model: str) -> None:
        tools: Any = {"tools": self.tools} if self.tools else {}
        ask: Any = {"model": model, "max_tokens": 512, "messages": self.history, **tools}
        if self.streams:
            with self.client.messages.stream(**ask) as stream:
                answer: Any = stream.get_final_message()
        else:
            answer = self.client.messages.create(**ask)
        self.history.append({"role": "assistant", "content": answer.content})
        self.calls = [block.id for block in answer.content if block.type == "tool_use"]


class Google:
    """Google's client."""

    def __init__(self, base: str, tools: list[str], *, streams: bool) -> None:
        self.streams = streams
        options = types.HttpOptions(base_url=base, timeout=15_000)
        self.client = genai.Client(vertexai=False, api_key=harness.MASTER_KEY, http_options=options)
        functions = [types.FunctionDeclaration(name=name) for name in tools]
        offered: Any = [types.Tool(function_declarations=functions)] if functions else None
        self.config = types.GenerateContentConfig(tools=offered)
        self.history: list[Any] = []
        self.calls: list[types.FunctionCall] = []

    def user(self, parts: list[tuple[str, ...]]) -> None:
        content = []
        for kind, *rest in parts:
            if kind == "image":
                blob: Any = {"mime_type": rest[0], "data": rest[1]}
                content.append(types.Part(inline_data=types.Blob.model_validate(blob)))
            else:
                content.append(types.Part(text=rest[0]))
        self.history.append(types.Content(role="user", parts=content))

    def results(self, results: list[Any]) -> None:
        parts = []
        for call, (_, _, result) in zip(self.calls, results, strict=True):
            response = result if isinstance(result, dict) else {RESULT: result}
            made = types.FunctionResponse(id=call.id, name=call.name, response=response)
            parts.append(types.Part(function_response=made))
        self.history.append(types.Content(role="user", parts=parts))

    def ask(self, model: str) -> None:
        ask: Any = {"model": model, "contents": self.history, "config": self.config}
        if self.streams:
            answers = list(self.client.models.generate_content_stream(**ask))
        else:
            answers = [self.client.models.generate_content(**ask)]
        # As its own chats keep it: every chunk's content is one of its own.
        contents = [one.content for answer in answers for one in answer.candidates or [] if one.content]
        self.history += contents
        parts = [part for content in contents for part in content.parts or []]
        self.calls = [part.function_call for part in parts if part.function_call]


CLIENTS: Any = {"chat": Chat, "responses": Responses, "messages": Messages, "gemini": Google}
