"""distilabel asks the questions: ADDRESS PLACE COUNT [--batch N]; run in its own environment (see clients.py)."""

from __future__ import annotations

import argparse
import json
import time

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration
from questions import questions


def main() -> None:
    """Ask, and say how long the run took and how many rows have an answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("place")
    parser.add_argument("count", type=int)
    parser.add_argument("--batch", type=int, default=50)
    given = parser.parse_args()
    with Pipeline(name="benchmark", cache_dir=given.place) as pipeline:
        load = LoadDataFromDicts(
            data=[{"instruction": text} for text in questions(given.count)], batch_size=given.batch
        )
        teacher = OpenAILLM(
            model="teacher",
            base_url=f"{given.address}/v1",
            api_key="none",
            generation_kwargs={"temperature": 0.7, "max_new_tokens": 512},
        )
        load >> TextGeneration(llm=teacher, input_batch_size=given.batch)
    started = time.perf_counter()
    rows = pipeline.run(use_cache=True)["default"]["train"]
    seconds = time.perf_counter() - started
    print("\n" + json.dumps({"seconds": seconds, "answered": sum(bool(text) for text in rows["generation"])}))


if __name__ == "__main__":
    main()
