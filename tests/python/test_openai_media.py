"""The official `openai` client through the gateway: what is heard, drawn and spoken."""

from __future__ import annotations

import openai
from harness import MASTER_KEY, Seen, Upstream, alias

HEARD = alias("openai-transcription")
DRAWN = alias("openai-images")
SPOKEN = alias("openai-speech")
SOUND = b"ID3 synthetic"


def only(seen: list[Seen], path: str) -> Seen:
    """The one request that the provider had, at this path and with its own key."""
    (one,) = seen
    assert one.path.endswith(path)
    assert MASTER_KEY not in one.headers["authorization"]
    return one


def test_what_is_heard_goes_out_with_its_model_alone_changed(oai: openai.OpenAI, upstream: Upstream) -> None:
    with upstream.watch() as seen:
        answer = oai.audio.transcriptions.create(
            model=HEARD.name, file=("a wörd.mp3", SOUND), language="de", timestamp_granularities=["word"]
        )
    assert answer.text == "Hello"
    sent = only(seen(), "/v1/audio/transcriptions")
    assert sent.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert f'name="model"\r\n\r\n{HEARD.model}\r\n' in sent.body
    assert 'name="language"\r\n\r\nde\r\n' in sent.body
    assert 'name="timestamp_granularities[]"\r\n\r\nword\r\n' in sent.body
    assert SOUND.decode() in sent.body


def test_a_long_upload_passes(oai: openai.OpenAI, upstream: Upstream) -> None:
    with upstream.watch() as seen:
        answer = oai.audio.transcriptions.create(model=HEARD.name, file=("a.mp3", SOUND * 200_000))
    assert answer.text == "Hello"
    assert SOUND.decode() * 200_000 in only(seen(), "/v1/audio/transcriptions").body


def test_an_image_is_drawn(oai: openai.OpenAI, upstream: Upstream) -> None:
    with upstream.watch() as seen:
        answer = oai.images.generate(model=DRAWN.name, prompt="a cat", n=1)
    assert answer.data is not None
    assert [image.b64_json for image in answer.data] == ["AA=="]
    sent = only(seen(), "/v1/images/generations")
    assert sent.json == {"model": DRAWN.model, "prompt": "a cat", "n": 1}


def test_a_text_is_spoken(oai: openai.OpenAI, upstream: Upstream) -> None:
    with upstream.watch() as seen:
        answer = oai.audio.speech.create(model=SPOKEN.name, voice="alloy", input="Hello")
    assert answer.content == SOUND
    assert answer.response.headers["content-type"] == "audio/mpeg"
    sent = only(seen(), "/v1/audio/speech")
    assert sent.json == {"model": SPOKEN.model, "voice": "alloy", "input": "Hello"}
