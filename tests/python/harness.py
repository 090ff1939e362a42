"""Starts the two binaries under test: the replay upstream, which plays the provider, and the gateway in front of it.

Nothing here looks inside of them: they are configured by files and flags, and read by what they print and answer.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from email.message import Message
from typing import Any, TypeVar

TESTS = pathlib.Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
EXCHANGES_FILE = TESTS / "data" / "exchanges.json"
EXCHANGES = {row["id"]: row for row in json.loads(EXCHANGES_FILE.read_text(encoding="utf-8"))}
"""Our synthetic exchanges by name."""

BINARIES = pathlib.Path(os.environ.get("ZIGGURAT_BIN_DIR", ROOT / "target" / "debug"))

MASTER_KEY = "sk-test"
"""The key that the clients show to the gateway."""

START_SECONDS = 20.0
WAIT_SECONDS = 10.0

Value = TypeVar("Value")


@dataclass(frozen=True)
class Alias:
    """One `model_name` of the gateway: a recording behind it, what goes wrong with it, and its own `litellm_params`."""

    name: str
    provider: str
    model: str
    recording: str
    faults: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def provider_key(self) -> str:
        """The key that the gateway, and nobody else, shows to the provider."""
        return f"sk-{self.provider}-provider-secret"

    def path(self) -> str:
        return "/r/" + ",".join([self.recording, *self.faults])

    def config(self, upstream: str) -> list[str]:
        base = upstream + self.path()
        return [
            f"  - model_name: {json.dumps(self.name)}",
            "    litellm_params:",
            f"      model: {json.dumps(f'{self.provider}/{self.model}')}",
            f"      api_base: {base if self.provider == 'anthropic' else base + '/v1'}",
            f"      api_key: {self.provider_key}",
            *(f"      {setting}" for setting in self.settings),
        ]


ALIASES: dict[str, Alias] = {}
"""What the gateway of the synthetic exchanges is configured with: every alias that a test module names on import."""


def alias(exchange: str, *faults: str, settings: tuple[str, ...] = ()) -> Alias:
    """The gateway's name for a synthetic exchange; only while test modules are imported, as the gateway starts after that."""
    row = EXCHANGES[exchange]
    made = Alias(",".join([exchange, *faults]), row["provider"], row["model"], exchange, faults, settings)
    return ALIASES.setdefault(made.name, made)


@dataclass(frozen=True)
class Seen:
    """One request as the upstream saw it, and how its answer ended: `completed`, `peer_closed`, `faulted`, or not yet.

    Headers that came twice are one value here, joined by a comma. `written` are the bytes of the answer's body.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: str
    written: int
    ending: str | None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Process:
    """A child process that says where it listens, and whose output is kept."""

    child: subprocess.Popen[str]
    output: list[str] = field(default_factory=list)
    address: str | None = None
    ready: threading.Event = field(default_factory=threading.Event)

    @property
    def base(self) -> str:
        assert self.address is not None, "not listening"
        return f"http://{self.address}"

    def drain(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.output.append(line)
            found = re.search(r"listening on (127\.0\.0\.1:\d+)", line)
            if found and not self.address:
                self.address = found[1]
                self.ready.set()
        self.ready.set()


@contextmanager
def running(*command: str | os.PathLike[str]) -> Iterator[Process]:
    """Runs a server until the block is left; it listens when the block is entered."""
    child = subprocess.Popen(
        command,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
    )
    process = Process(child)
    reader = threading.Thread(target=process.drain, daemon=True)
    reader.start()
    try:
        if not process.ready.wait(START_SECONDS) or not process.address:
            raise RuntimeError(f"{command[0]} did not start:\n{''.join(process.output)}")
        yield process
    finally:
        child.terminate()
        try:
            child.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        reader.join(WAIT_SECONDS)
        if child.stdout is not None:
            child.stdout.close()


class Upstream:
    """The provider: it answers `/r/<recording>[,<fault>...]/...` and remembers who asked what."""

    def __init__(self, process: Process) -> None:
        self.base = process.base

    def seen(self) -> list[Seen]:
        with urllib.request.urlopen(self.base + "/_exchanges", timeout=WAIT_SECONDS) as answer:
            rows = json.load(answer)
        names = [each.name for each in fields(Seen)]
        return [Seen(**{name: row[name] for name in names}) for row in rows]

    @contextmanager
    def watch(self) -> Iterator[Callable[[], list[Seen]]]:
        """Gives a function that tells what the upstream saw since the block was entered."""
        before = len(self.seen())
        yield lambda: self.seen()[before:]


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer, for what an SDK hides."""

    status: int
    headers: Message
    body: bytes


def post(base: str, path: str, body: Any, **headers: str) -> Answer:
    """Asks without an SDK. An empty header is not sent."""
    named = {"content-type": "application/json", "authorization": f"Bearer {MASTER_KEY}"}
    named |= {key.replace("_", "-"): value for key, value in headers.items()}
    named = {key: value for key, value in named.items() if value}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, named)
    try:
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


@contextmanager
def start_upstream(*arguments: str | os.PathLike[str]) -> Iterator[Process]:
    with running(BINARIES / "replay-upstream", "--port", "0", *arguments) as process:
        yield process


@contextmanager
def start_gateway(config: str, *arguments: str) -> Iterator[Process]:
    """A gateway with this `config.yaml`."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "config.yaml"
        path.write_text(config, encoding="utf-8")
        with running(BINARIES / "ziggurat", "--config", path, "--port", "0", *arguments) as process:
            yield process


def config(upstream: str) -> str:
    """The `config.yaml` of every alias named so far."""
    models = [line for each in ALIASES.values() for line in each.config(upstream)]
    # What fails is told as it is: nothing is tried again.
    settings = ["general_settings:", f"  master_key: {MASTER_KEY}", "router_settings:", "  num_retries: 0", ""]
    return "\n".join(["model_list:", *models, *settings])


def body_of(exchange: str) -> bytes:
    """What the provider of a synthetic exchange answers."""
    body: str = EXCHANGES[exchange]["response"]["body"]
    return body.encode()


def end_of_event(exchange: str, needle: str) -> int:
    """How many bytes of a stream have passed when the first event that holds `needle` is whole."""
    body = body_of(exchange)
    return body.index(b"\n\n", body.index(needle.encode())) + 2


def calls_and_results(messages: list[dict[str, Any]], provider: str) -> tuple[list[str], list[str]]:
    """The ids of the calls that a conversation at a provider holds, and of those that its results answer."""
    if provider == "openai":
        calls = [call["id"] for message in messages for call in message.get("tool_calls") or []]
        return calls, [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    blocks = [block for message in messages for block in message["content"] if isinstance(block, dict)]
    calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
    return calls, [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]


def recordings_folder() -> pathlib.Path | None:
    """Where the recorded traffic is, if it is here: it is not part of the project."""
    named = os.environ.get("ZIGGURAT_SHARED")
    folder = ROOT / (named or "../shared") / "recordings"
    return folder if folder.is_dir() else None


EXCEPTIONS: list[dict[str, str]] = json.loads(
    (TESTS / "data" / "recordings-exceptions.json").read_text(encoding="utf-8")
)
"""Rows of `id`, `judge` (`tool`, `sdk` or `turns`), `dialect` (the caller's) and `reason`."""


def excused(judge: str, dialect: str) -> dict[str, str]:
    """The listed recordings with their reasons."""
    rows = [row for row in EXCEPTIONS if (row["judge"], row["dialect"]) == (judge, dialect)]
    assert all(row["reason"].strip() for row in rows), "an exception without a reason"
    return {row["id"]: row["reason"] for row in rows}


def wait_for(what: Callable[[], Value | None], message: str) -> Value:
    """Asks until there is an answer; fails with the message when there is none in time."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        value = what()
        if value is not None:
            return value
        time.sleep(0.02)
    raise AssertionError(message)
