"""Recorded provider traffic through the gateway, where it is at hand (it is not part of the project).

Two judges: the shared black-box tool, which reads the truth from the provider's own bytes; and the official SDKs, which
must put together the same text, tool calls, ending and usage, without an exception of their own.

`tests/data/recordings-exceptions.json` lists what may differ, each with its reason. An entry that no longer differs fails.
"""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import anthropic
import harness
import openai
import pytest
from botocore.eventstream import EventStreamBuffer
from google import genai
from google.genai import errors, types

SHARED = harness.recordings_folder()
pytestmark = [
    pytest.mark.skipif(SHARED is None, reason="no recorded traffic here"),
    # Providers answer with more kinds of blocks than the SDKs' types name, which the SDKs keep, and pydantic notes.
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
]

PROVIDERS = [
    "openai",
    "anthropic",
    "azure",
    "groq",
    "deepseek",
    "xai",
    "mistral",
    "openrouter",
    "openai_compatible",
    "gemini",
    "bedrock",
    "ollama",
    "cohere",
]

def recordings() -> Path:
    assert SHARED is not None
    return SHARED


def excused(judge: str, dialect: str) -> dict[str, str]:
    """The listed recordings with their reasons."""
    rows = [row for row in EXCEPTIONS if (row["judge"], row["dialect"]) == (judge, dialect)]
    assert all(row["reason"].strip() for row in rows), "an exception without a reason"
    return {row["id"]: row["reason"] for row in rows}


def tool_path() -> Path:
    return recordings().parent / "tools" / "recordings.py"


def tool() -> ModuleType:
    """The shared tool as a module: it is a script that runs at its last line, which is left out here."""
    *lines, call = tool_path().read_text(encoding="utf-8").rstrip().split("\n")
    assert call == "main()", "the shared tool has changed"
    module = ModuleType("recordings")
    exec(compile("\n".join(lines), str(tool_path()), "exec"), module.__dict__)
    return module


def run_tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(tool_path()), *arguments, "--providers", ",".join(PROVIDERS)]
    return subprocess.run(command, text=True, capture_output=True, timeout=300, check=False)


def free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def tool_config(port: int) -> str:
    made = run_tool("config", str(recordings()), "--port", str(port), "--key", harness.MASTER_KEY)
    assert made.returncode == 0, made.stderr
    return made.stdout


# ---- the shared tool ----


@contextmanager
def tool_upstream(rechunk: int) -> Iterator[int]:
    """The tool's own replay server; gives its port."""
    port = free_port()
    command = [
        sys.executable,
        str(tool_path()),
        "serve",
        str(recordings()),
        "--port",
        str(port),
        "--rechunk",
        str(rechunk),
    ]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith("serving "), "the tool's server did not start"
            yield port
        finally:
            server.terminate()


@pytest.mark.parametrize("dialect", ["chat", "messages"])
@pytest.mark.parametrize("rechunk", [0, 1, 7])
def test_the_shared_tool_finds_no_difference(rechunk: int, dialect: str, tmp_path: Path) -> None:
    report = tmp_path / "failures.jsonl"
    with tool_upstream(rechunk) as port, harness.start_gateway(tool_config(port)) as gateway:
        ask = [
            "--base",
            gateway.base,
            "--key",
            harness.MASTER_KEY,
            "--dialect",
            dialect,
            "--out",
            str(report),
        ]
        ran = run_tool("run", str(recordings()), *ask)
    assert " passed, " in ran.stdout, ran.stderr
    print(f"{dialect}, {rechunk or 'all'} bytes a write\n{ran.stdout}")
    failed = {row["id"]: row["why"] for row in map(json.loads, report.read_text().splitlines())}
    known = harness.excused("tool", dialect)
    unknown = [f"{id}: {why}" for id, why in failed.items() if id not in known]
    assert not unknown, "\n".join(unknown)
    assert sorted(set(known) - set(failed)) == [], "listed as exceptions, and they pass"


# ---- the SDKs ----


@pytest.fixture(scope="module")
def recorded() -> Iterator[harness.Process]:
    """A gateway in front of our own replay upstream with every recording."""
    with harness.start_upstream("--recordings", recordings()) as upstream:
        port = int(upstream.base.rsplit(":", 1)[1])
        with harness.start_gateway(tool_config(port)) as gateway:
            yield gateway


def rows() -> list[dict[str, Any]]:
    """The chat recordings of our providers, as the tool's own `load` (which leaves its files open) would give them."""
    if SHARED is None or TOOL is None:
        return []
    found = []
    for path in sorted(SHARED.glob("*.json")):
        row = json.loads(path.read_text(encoding="utf-8"))
        # The tool makes no deployment for streams that come as arrays.
        is_chat = (row["provider"], row["endpoint"]) in TOOL.CHAT and row["format"] != "json-array"
        if row["provider"] in PROVIDERS and is_chat:
            raw = row["response"]["body"]
            row["body"] = base64.b64decode(raw) if row["response"].get("body_base64") else raw.encode()
            found.append(row)
    return found


TOOL = tool() if SHARED else None
ROWS = rows()
each_row = pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])


def names_of_tools(row: dict[str, Any], want: dict[str, Any]) -> list[str]:
    """The tools to offer: those that the answer calls, and one more, if it has to do with tools at all."""
    if not {"tools", "tool_calls"} & set(row["tags"]):
        return []
    return sorted({name for name, _ in want.get("calls", [])} | {"lookup"})


def streams(row: dict[str, Any]) -> bool:
    return bool(row["format"] != "json" or "stream" in row["endpoint"].lower())


def openai_hears(client: openai.OpenAI, row: dict[str, Any], want: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {}}
    tools = [
        {"type": "function", "function": {"name": name, "parameters": schema}}
        for name in names_of_tools(row, want)
    ]
    ask: Any = {"model": row["id"], "messages": [{"role": "user", "content": "hello"}], "max_tokens": 512}
    ask |= {"tools": tools} if tools else {}
    if streams(row):
        with client.chat.completions.stream(**ask, stream_options={"include_usage": True}) as stream:
            answer: Any = stream.until_done().current_completion_snapshot
    else:
        answer = client.chat.completions.create(**ask)
    assert TOOL is not None
    heard: dict[str, Any] = TOOL.openai([json.loads(answer.to_json(warnings=False))], False)
    return heard


def responses_hear(client: openai.OpenAI, row: dict[str, Any], want: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {}}
    tools = [{"type": "function", "name": name, "parameters": schema} for name in names_of_tools(row, want)]
    ask: Any = {"model": row["id"], "input": "hello", "max_output_tokens": 512}
    ask |= {"tools": tools} if tools else {}
    if streams(row):
        ends = ("response.completed", "response.incomplete")
        with client.responses.stream(**ask) as stream:
            # The SDK's own `get_final_response` takes answers that were cut for none.
            answer: Any = next(event.response for event in stream if event.type in ends)
    else:
        answer = client.responses.create(**ask)
    assert answer.error is None and answer.status in ("completed", "incomplete")
    calls = [(item.name, item.arguments) for item in answer.output if item.type == "function_call"]
    why = answer.incomplete_details.reason if answer.incomplete_details else None
    usage = answer.usage and (answer.usage.input_tokens, answer.usage.output_tokens)
    # What it ended with is told by its items and by why it is incomplete, which chats say in one word.
    words = {"max_output_tokens": "length", "content_filter": "content_filter"}
    finish = words[why] if why else "tool_calls" if calls else "stop"
    return {"text": answer.output_text, "calls": calls, "finish": finish, "usage": usage}


def anthropic_hears(client: anthropic.Anthropic, row: dict[str, Any], want: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {}}
    tools = [{"name": name, "input_schema": schema} for name in names_of_tools(row, want)]
    ask: Any = {"model": row["id"], "messages": [{"role": "user", "content": "hello"}], "max_tokens": 512}
    ask |= {"tools": tools} if tools else {}
    if streams(row):
        with client.messages.stream(**ask) as stream:
            message: Any = stream.get_final_message()
    else:
        message = client.messages.create(**ask)
    assert TOOL is not None
    heard: dict[str, Any] = TOOL.anthropic(
        {"format": "json", "body": message.to_json(warnings=False).encode()}
    )
    return heard


def google_hears(client: genai.Client, row: dict[str, Any], want: dict[str, Any]) -> dict[str, Any]:
    functions = [types.FunctionDeclaration(name=name) for name in names_of_tools(row, want)]
    offered: Any = [types.Tool(function_declarations=functions)] if functions else None
    config = types.GenerateContentConfig(max_output_tokens=512, tools=offered)
    ask: Any = {"model": row["id"], "contents": "hello", "config": config}
    if streams(row):
        answers = list(client.models.generate_content_stream(**ask))
    else:
        answers = [client.models.generate_content(**ask)]
    # The SDK puts nothing together: what it made of each piece is read as the pieces of one stream.
    said = [answer.model_dump_json(by_alias=True, exclude_none=True) for answer in answers]
    assert TOOL is not None
    body = "".join(f"data: {each}\n\n" for each in said).encode()
    heard: dict[str, Any] = TOOL.gemini({"format": "sse", "body": body})
    return heard


def judge(row: dict[str, Any], dialect: str, hear: Any, failure: type[Exception], client: Any) -> None:
    assert TOOL is not None
    want = TOOL.truth(row)
    reason = harness.excused("sdk", dialect).get(row["id"])
    try:
        heard = hear(client, row, want)
        why = TOOL.diff(want, heard, row)
    except failure as error:
        why = TOOL.diff(want, {"error": True, "status": getattr(error, "status_code", None)}, row)
    except Exception as error:
        if reason is None:
            raise
        why = repr(error)
    if reason is None:
        assert why is None, why
    else:
        assert why is not None, f"listed as an exception ({reason}), and it passes"


@each_row
def test_the_openai_sdk_hears_the_provider(recorded: harness.Process, row: dict[str, Any]) -> None:
    options: Any = {"base_url": recorded.base + "/v1", "api_key": harness.MASTER_KEY}
    with openai.OpenAI(**options, max_retries=0, timeout=15.0) as client:
        judge(row, "chat", openai_hears, openai.APIError, client)


@pytest.fixture(scope="module")
def chats_only() -> Iterator[harness.Process]:
    """As `recorded`, where providers that serve Responses are asked by chats all the same."""
    with harness.start_upstream("--recordings", recordings()) as upstream:
        config = tool_config(int(upstream.base.rsplit(":", 1)[1]))
        start = "    litellm_params:\n"
        with harness.start_gateway(
            config.replace(start, start + "      use_chat_completions_api: true\n")
        ) as gateway:
            yield gateway


@each_row
def test_the_openai_sdk_hears_the_provider_as_responses(
    chats_only: harness.Process, row: dict[str, Any]
) -> None:
    options: Any = {"base_url": chats_only.base + "/v1", "api_key": harness.MASTER_KEY}
    with openai.OpenAI(**options, max_retries=0, timeout=15.0) as client:
        judge(row, "responses", responses_hear, openai.APIError, client)


@each_row
def test_the_anthropic_sdk_hears_the_provider(recorded: harness.Process, row: dict[str, Any]) -> None:
    options: Any = {"base_url": recorded.base, "api_key": harness.MASTER_KEY}
    with anthropic.Anthropic(**options, max_retries=0, timeout=15.0) as client:
        judge(row, "messages", anthropic_hears, anthropic.APIStatusError, client)


@each_row
def test_googles_sdk_hears_the_provider(recorded: harness.Process, row: dict[str, Any]) -> None:
    options = types.HttpOptions(base_url=recorded.base, timeout=15_000)
    with genai.Client(vertexai=False, api_key=harness.MASTER_KEY, http_options=options) as client:
        judge(row, "gemini", google_hears, errors.APIError, client)


MESSAGES = [row for row in ROWS if row["endpoint"] == "converse-stream" and row["response"]["status"] == 200]


def botocore_hears(body: bytes) -> dict[str, Any]:
    """What AWS's own reader finds in a stream of Converse's, checksums included; calls of the provider's own tools are none of the caller's."""
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    text, finish, usage = "", None, None
    calls: dict[int, list[str]] = {}
    for message in buffer:
        assert message.headers[":message-type"] == "event"
        said = json.loads(message.payload)
        match message.headers[":event-type"]:
            case "contentBlockStart" if call := said["start"].get("toolUse"):
                if call.get("type", "tool_use") == "tool_use":
                    calls[said["contentBlockIndex"]] = [call["name"], ""]
            case "contentBlockDelta":
                text += said["delta"].get("text", "")
                if (call := said["delta"].get("toolUse")) and said["contentBlockIndex"] in calls:
                    calls[said["contentBlockIndex"]][1] += call["input"]
            case "messageStop":
                finish = said["stopReason"]
            case "metadata":
                usage = said["usage"]["outputTokens"]
    found = [(name, json.loads(arguments or "{}")) for name, arguments in calls.values()]
    return {"text": text, "calls": found, "finish": finish, "output": usage}


FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
}


@pytest.mark.parametrize("row", MESSAGES, ids=[row["id"] for row in MESSAGES])
def test_the_gateway_hears_what_botocore_hears(recorded: harness.Process, row: dict[str, Any]) -> None:
    want = botocore_hears(row["body"])
    options: Any = {"base_url": recorded.base + "/v1", "api_key": harness.MASTER_KEY}
    truth = {"calls": [(name, "") for name, _ in want["calls"]]}
    with openai.OpenAI(**options, max_retries=0, timeout=15.0) as client:
        heard = openai_hears(client, row, truth)
    assert heard["text"] == want["text"]
    assert [(name, json.loads(arguments or "{}")) for name, arguments in heard["calls"]] == want["calls"]
    assert heard["finish"] == FINISHES[want["finish"]]
    assert heard["usage"][1] == want["output"]


def test_there_is_recorded_traffic_of_every_provider() -> None:
    assert {row["provider"] for row in ROWS} == set(PROVIDERS)
    assert len(MESSAGES) > 10
