"""Botocore judges what Bedrock would see of the gateway and the gateway would hear of Bedrock: signatures, requests, answers, streams."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import botocore.session
import harness
import openai
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, EventStreamError
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.validate import ParamValidator

KEY, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session/token+=="
REGION = "eu-central-1"
CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
PROFILE = f"arn:aws:bedrock:{REGION}:123456789012:application-inference-profile/a1b2c3d4e5f6"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n synthetic").decode()


# ---- what Bedrock answers ----


def message(kind: str, name: str, payload: dict[str, Any]) -> bytes:
    """A message of AWS's event stream."""

    def header(key: str, value: str) -> bytes:
        return struct.pack(">B", len(key)) + key.encode() + struct.pack(">BH", 7, len(value)) + value.encode()

    label = ":exception-type" if kind == "exception" else ":event-type"
    head = header(label, name) + header(":content-type", "application/json") + header(":message-type", kind)
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(head) + len(body), len(head))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + body
    return whole + struct.pack(">I", zlib.crc32(whole))


THOUGHT = {"reasoningText": {"text": "First, look.", "signature": "c2lnbmF0dXJl"}}
USAGE = {"inputTokens": 20, "outputTokens": 5, "totalTokens": 25}
CONTENT: list[dict[str, Any]] = [
    {"reasoningContent": THOUGHT},
    {"text": "Hello, wörld 🌍!"},
    {"toolUse": {"toolUseId": "tooluse_1", "name": "get_weather", "input": {"city": "Paris", "days": 2}}},
    {"toolUse": {"toolUseId": "tooluse_2", "name": "get_time", "input": {}}},
]
WHOLE = {
    "output": {"message": {"role": "assistant", "content": CONTENT}},
    "stopReason": "tool_use",
    "usage": USAGE,
    "metrics": {"latencyMs": 5},
}


def event(name: str, **payload: Any) -> bytes:
    return message("event", name, payload)


def delta(block: int, **payload: Any) -> bytes:
    return event("contentBlockDelta", contentBlockIndex=block, delta=payload)


def call(block: int, id: str, name: str, *pieces: str) -> bytes:
    start = event(
        "contentBlockStart", contentBlockIndex=block, start={"toolUse": {"toolUseId": id, "name": name}}
    )
    return start + b"".join(delta(block, toolUse={"input": piece}) for piece in pieces)


def stop(block: int) -> bytes:
    return event("contentBlockStop", contentBlockIndex=block)


BEGUN = [
    event("messageStart", role="assistant"),
    delta(0, reasoningContent={"text": "First, "}),
    delta(0, reasoningContent={"text": "look."}),
    delta(0, reasoningContent={"signature": "c2lnbmF0dXJl"}),
    stop(0),
    delta(1, text="Hello, "),
    delta(1, text="wörld 🌍!"),
    stop(1),
]
STREAM = b"".join(
    [
        *BEGUN,
        call(2, "tooluse_1", "get_weather", '{"city": "Par', 'is", "days": 2}'),
        stop(2),
        call(3, "tooluse_2", "get_time"),
        stop(3),
        event("messageStop", stopReason="tool_use"),
        event("metadata", usage=USAGE, metrics={"latencyMs": 5}),
    ]
)
BROKEN = b"".join([*BEGUN, message("exception", "throttlingException", {"message": "too many"})])
REFUSAL = {"message": "The maximum tokens you requested exceeds the model limit of 64000."}

AWS = {"content-type": "application/vnd.amazon.eventstream"}
JSON = {"content-type": "application/json"}
ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "whole": (200, JSON, json.dumps(WHOLE).encode()),
    "stream": (200, AWS, STREAM),
    "broken": (200, AWS, BROKEN),
    "refused": (
        400,
        JSON | {"x-amzn-errortype": "ValidationException:http://internal.amazon.com/coral/"},
        json.dumps(REFUSAL).encode(),
    ),
}
MODELS = {
    "plain": (CLAUDE, []),
    "session": (CLAUDE, [f"aws_session_token: {TOKEN}"]),
    "profile": (f"converse/{PROFILE}", []),
    "invoked": (f"invoke/{CLAUDE}", []),
}


@dataclass(frozen=True)
class Stage:
    gateway: harness.Process
    upstream: harness.Upstream

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=self.gateway.base + "/v1", api_key=harness.MASTER_KEY, max_retries=0, timeout=15.0
        )

    def botocore(self, answer: str) -> Any:
        """Amazon's own client, in front of the provider itself."""
        return botocore.session.Session().create_client(
            "bedrock-runtime",
            region_name=REGION,
            endpoint_url=f"{self.upstream.base}/r/{answer}",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=Config(retries={"total_max_attempts": 1}),
        )


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    rows = [
        {
            "id": name,
            "response": {
                "status": status,
                "headers": headers,
                "body": base64.b64encode(body).decode(),
                "body_base64": True,
            },
        }
        for name, (status, headers, body) in ANSWERS.items()
    ]
    path = tmp_path_factory.mktemp("bedrock") / "exchanges.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    with harness.start_upstream("--synthetic", path) as upstream:
        lines = ["model_list:"]
        deployments = [(name, CLAUDE, name, []) for name in ANSWERS]
        deployments += [(name, model, "whole", extra) for name, (model, extra) in MODELS.items()]
        for alias, model, answer, extra in deployments:
            lines += [
                f"  - model_name: {alias}",
                "    litellm_params:",
                f"      model: bedrock/{model}",
                f"      aws_bedrock_runtime_endpoint: {upstream.base}/r/{answer}",
                f"      aws_region_name: {REGION}",
                f"      aws_access_key_id: {KEY}",
                f"      aws_secret_access_key: {SECRET}",
                *(f"      {each}" for each in extra),
            ]
        settings = ["general_settings:", f"  master_key: {harness.MASTER_KEY}"]
        settings += ["router_settings:", "  num_retries: 0", ""]
        with harness.start_gateway("\n".join(lines + settings)) as gateway:
            yield Stage(gateway, harness.Upstream(upstream))


# ---- signatures ----

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, ?"
    r"SignedHeaders=(?P<names>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


def signed_by_botocore(one: harness.Seen, base: str) -> str:
    """The signature that botocore makes for what was sent, with the headers and the time that were signed."""
    found = AUTHORIZATION.fullmatch(one.headers["authorization"])
    assert found is not None, one.headers["authorization"]
    assert (found["key"], found["region"], found["service"]) == (KEY, REGION, "bedrock")
    assert one.headers["x-amz-date"].startswith(found["day"])
    token = one.headers.get("x-amz-security-token")
    names = found["names"].split(";")
    # What botocore signs of its own requests must be signed of these.
    assert {"host", "x-amz-date"} | ({"x-amz-security-token"} if token else set()) <= set(names)
    request = AWSRequest(
        one.method, base + one.path, {name: one.headers[name] for name in names}, one.body.encode()
    )
    request.context["timestamp"] = one.headers["x-amz-date"]
    signer = SigV4Auth(Credentials(KEY, SECRET, token), found["service"], found["region"])
    assert one.headers["x-amz-content-sha256"] == signer.payload(request)
    return str(signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request))


@pytest.mark.parametrize("text", ["Hello", 'wörld 🌍 \\ " +/='])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_botocore_signs_the_same(stage: Stage, model: str, stream: bool, text: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
    with stage.upstream.watch() as seen:
        harness.post(stage.gateway.base, "/v1/chat/completions", body)
        [one] = seen()
    assert one.headers["authorization"].endswith("Signature=" + signed_by_botocore(one, stage.upstream.base))
    assert one.headers.get("x-amz-security-token") == (TOKEN if model == "session" else None)
    id, operation = one.path.rsplit("/", 2)[1:]
    assert unquote(id) == (PROFILE if model == "profile" else CLAUDE)
    assert ("stream" in operation) == stream


# ---- requests ----


def as_botocore_has_it(shape: Shape, value: Any) -> Any:
    """A value of the wire as botocore's callers give it: bytes for base64."""
    if isinstance(shape, StructureShape) and isinstance(value, dict) and not shape.is_document_type:
        return {
            name: as_botocore_has_it(shape.members[name], it) if name in shape.members else it
            for name, it in value.items()
        }
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [as_botocore_has_it(shape.member, it) for it in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {name: as_botocore_has_it(shape.value, it) for name, it in value.items()}
    if shape.type_name == "blob":
        return base64.b64decode(value, validate=True)
    return value


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHAT: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                {
                    "type": "file",
                    "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PNG}"},
                },
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "get_weather", "description": "d", "parameters": SCHEMA}}
    ],
    "tool_choice": "required",
    "max_tokens": 64,
    "temperature": 0.5,
    "stop": ["END"],
}
MESSAGES: dict[str, Any] = {
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Look.", "cache_control": {"type": "ephemeral"}}],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "why", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "cmVk"},
                {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Rome"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "is_error": True,
                    "content": [
                        {"type": "text", "text": "no"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                        },
                    ],
                }
            ],
        },
    ],
    "tools": [{"name": "get_weather", "input_schema": SCHEMA}],
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "max_tokens": 2048,
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "asked"), [("/v1/chat/completions", CHAT), ("/v1/messages", MESSAGES)])
def test_botocore_would_send_the_request(
    stage: Stage, path: str, asked: dict[str, Any], stream: bool
) -> None:
    with stage.upstream.watch() as seen:
        body = asked | {"model": "stream" if stream else "whole", "stream": stream}
        assert harness.post(stage.gateway.base, path, body).status == 200
        [one] = seen()
    service = botocore.session.Session().get_service_model("bedrock-runtime")
    shape = service.operation_model("ConverseStream" if stream else "Converse").input_shape
    given = {"modelId": CLAUDE, **as_botocore_has_it(shape, one.json)}
    report = ParamValidator().validate(given, shape)
    assert not report.has_errors(), report.generate_report()


# ---- answers ----


def heard(client: openai.OpenAI, name: str, stream: bool) -> dict[str, Any]:
    """What OpenAI's client hears, in Converse's words."""
    ask: Any = {"model": name, "messages": [{"role": "user", "content": "Hi"}]}
    tools = [
        {"type": "function", "function": {"name": it, "parameters": SCHEMA}}
        for it in ("get_weather", "get_time")
    ]
    ask["tools"] = tools
    if stream:
        with client.chat.completions.stream(**ask, stream_options={"include_usage": True}) as events:
            answer: Any = events.until_done().current_completion_snapshot
    else:
        answer = client.chat.completions.create(**ask)
    [choice] = answer.choices
    [thought] = choice.message.model_extra["thinking_blocks"]
    return {
        "thought": (thought["thinking"], thought["signature"]),
        "text": choice.message.content,
        "calls": [
            (it.id, it.function.name, json.loads(it.function.arguments)) for it in choice.message.tool_calls
        ],
        "finish": choice.finish_reason,
        "usage": (answer.usage.prompt_tokens, answer.usage.completion_tokens),
    }


def put_together(events: Any) -> list[dict[str, Any]]:
    """The blocks that the events of botocore's make up."""
    blocks: dict[int, dict[str, Any]] = {}
    rest: dict[str, Any] = {}
    for event in events:
        [(name, said)] = event.items()
        if name == "contentBlockStart":
            blocks[said["contentBlockIndex"]] = {"toolUse": dict(said["start"]["toolUse"], input="")}
        elif name == "contentBlockDelta":
            block = blocks.setdefault(said["contentBlockIndex"], {})
            piece = said["delta"]
            if "text" in piece:
                block["text"] = block.get("text", "") + piece["text"]
            elif "toolUse" in piece:
                block["toolUse"]["input"] += piece["toolUse"]["input"]
            else:
                thought = block.setdefault(
                    "reasoningContent", {"reasoningText": {"text": "", "signature": ""}}
                )
                for key, it in piece["reasoningContent"].items():
                    thought["reasoningText"][key] += it
        elif name in ("messageStop", "metadata"):
            rest |= said
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    content = [blocks[at] for at in sorted(blocks)]
    return {
        "output": {"message": {"content": content}},
        "stopReason": rest["stopReason"],
        "usage": rest["usage"],
    }


QUESTION: Any = {"modelId": CLAUDE, "messages": [{"role": "user", "content": [{"text": "Hi"}]}]}


@pytest.mark.parametrize("stream", [False, True])
def test_the_gateway_hears_what_botocore_hears(stage: Stage, stream: bool) -> None:
    aws = stage.botocore("stream" if stream else "whole")
    said = put_together(aws.converse_stream(**QUESTION)["stream"]) if stream else aws.converse(**QUESTION)
    content = said["output"]["message"]["content"]
    assert content == CONTENT
    [thought] = [it["reasoningContent"]["reasoningText"] for it in content if "reasoningContent" in it]
    calls = [it["toolUse"] for it in content if "toolUse" in it]
    with stage.client() as client:
        assert heard(client, "stream" if stream else "whole", stream) == {
            "thought": (thought["text"], thought["signature"]),
            "text": "".join(it.get("text", "") for it in content),
            "calls": [(it["toolUseId"], it["name"], it["input"]) for it in calls],
            "finish": "tool_calls",
            "usage": (said["usage"]["inputTokens"], said["usage"]["outputTokens"]),
        }


def test_a_stream_breaks_off_where_botocores_does(stage: Stage) -> None:
    before: list[str] = []
    with pytest.raises(EventStreamError) as theirs:
        for event in stage.botocore("broken").converse_stream(**QUESTION)["stream"]:
            before.append(event.get("contentBlockDelta", {}).get("delta", {}).get("text", ""))
    assert theirs.value.response["Error"] == {"Code": "throttlingException", "Message": "too many"}
    after: list[str] = []
    with stage.client() as client, pytest.raises(openai.APIError) as ours:
        stream = client.chat.completions.create(
            model="broken", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        for chunk in stream:
            after += [choice.delta.content or "" for choice in chunk.choices]
    assert "too many" in ours.value.message
    assert "".join(after) == "".join(before) == "Hello, wörld 🌍!"


def test_a_refusal_is_the_one_that_botocore_hears(stage: Stage) -> None:
    with pytest.raises(ClientError) as theirs:
        stage.botocore("refused").converse(**QUESTION)
    assert theirs.value.response["Error"] == {"Code": "ValidationException", "Message": REFUSAL["message"]}
    with stage.client() as client, pytest.raises(openai.BadRequestError) as ours:
        client.chat.completions.create(model="refused", messages=[{"role": "user", "content": "Hi"}])
    assert REFUSAL["message"] in ours.value.message
