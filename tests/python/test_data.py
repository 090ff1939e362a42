"""The suite's own data is what its source says."""

from __future__ import annotations

import runpy

import harness


def test_the_committed_exchanges_are_what_their_source_says() -> None:
    source = runpy.run_path(str(harness.EXCHANGES_FILE.with_suffix(".py")))
    assert harness.EXCHANGES_FILE.read_text(encoding="utf-8") == source["render"]()
