#!/usr/bin/env python3
"""Says how well a model of embeddings tells questions that may share an answer from those that may not.

    ZIGGURAT_TEST_EMBEDDINGS=http://127.0.0.1:8080/v1/embeddings tests/semantic/quality.py [FILE]

The endpoint answers as OpenAI's does; ZIGGURAT_TEST_EMBEDDINGS_MODEL is the model that it is asked for, and
ZIGGURAT_TEST_EMBEDDINGS_KEY the key. The pairs are those of `questions.tsv` beside this, or of FILE. For each threshold
it prints which share of what would be given is right (precision), which share of what could be given is (recall), and
how many pairs of each other kind would be given wrongly. A pair whose numbers or negations differ is never given,
as in the crate; below it the same without that rule.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import re
import sys
import urllib.request

THRESHOLDS = [0.70, 0.75, 0.80, 0.85, 0.90, 0.92, 0.95, 0.97]
SAME = "same"
BATCH = 64
NEGATIONS = {"no", "not", "never", "without", "cannot", "none", "nothing", "nobody", "neither", "nor"}


def main() -> None:
    url = os.environ.get("ZIGGURAT_TEST_EMBEDDINGS")
    if not url:
        sys.exit("ZIGGURAT_TEST_EMBEDDINGS is to be the address of an endpoint as OpenAI's /v1/embeddings")
    files = [pathlib.Path(name) for name in sys.argv[1:]] or [pathlib.Path(__file__).with_name("questions.tsv")]
    pairs = [pair for file in files for pair in read(file)]
    texts = list(dict.fromkeys(text for _, one, other in pairs for text in (one, other)))
    vectors = embed(url, texts)
    scored = [(kind, cosine(vectors[one], vectors[other]), exactly(one) == exactly(other)) for kind, one, other in pairs]
    kinds = [kind for kind in dict.fromkeys(kind for kind, _, _ in scored) if kind != SAME]
    count = {kind: sum(1 for other, _, _ in scored if other == kind) for kind in [SAME, *kinds]}
    print(f"{len(pairs)} pairs: " + ", ".join(f"{number} {kind}" for kind, number in count.items()))
    for rule in (True, False):
        print("\nnumbers and negations have to be equal" if rule else "\nwithout that")
        print(f"{'threshold':>9} {'precision':>9} {'recall':>7} " + " ".join(f"{kind:>9}" for kind in kinds))
        for threshold in THRESHOLDS:
            given = [kind for kind, score, equal in scored if score >= threshold and (equal or not rule)]
            right = given.count(SAME)
            precision = f"{right / len(given):.3f}" if given else "-"
            wrong = " ".join(f"{f'{given.count(kind)}/{count[kind]}':>9}" for kind in kinds)
            print(f"{threshold:>9.2f} {precision:>9} {right / count[SAME]:>7.3f} {wrong}")


def read(file: pathlib.Path) -> list[tuple[str, str, str]]:
    pairs = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != 3:
            sys.exit(f"{file}:{number}: a pair is a kind and two questions, with tabs between them")
        pairs.append((fields[0], fields[1], fields[2]))
    return pairs


def embed(url: str, texts: list[str]) -> dict[str, list[float]]:
    headers = {"content-type": "application/json"}
    if key := os.environ.get("ZIGGURAT_TEST_EMBEDDINGS_KEY"):
        headers["authorization"] = f"Bearer {key}"
    model = os.environ.get("ZIGGURAT_TEST_EMBEDDINGS_MODEL", "all-MiniLM-L6-v2")
    vectors = {}
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        body = json.dumps({"model": model, "input": batch, "encoding_format": "float"}).encode()
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=120) as response:
            data = json.load(response)["data"]
        if len(data) != len(batch):
            sys.exit(f"{len(batch)} texts were to be embedded, {len(data)} are")
        vectors.update((batch[item["index"]], item["embedding"]) for item in data)
    return vectors


def cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def exactly(text: str) -> tuple[list[str], int]:
    """What the crate compares exactly: `numbers` and `negations`."""
    words = re.split(r"[^\w.,+%-]|_", text)
    numbers = [word.rstrip(".,-+") for word in words if any(letter.isnumeric() for letter in word)]
    words = re.split(r"[^\w']|_", text.replace("\u2019", "'").lower())
    return numbers, sum(1 for word in words if word in NEGATIONS or word.endswith("n't"))


if __name__ == "__main__":
    main()
