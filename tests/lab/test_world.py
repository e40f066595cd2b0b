"""The lab's problems: reproducible, apart from split to split, and made of the words they claim."""

from __future__ import annotations

import hashlib
import os
import random
import re
import subprocess
import sys
from collections import Counter

import pytest

from feints.errors import UnknownNameError
from feints.lab import grammar, wording
from feints.lab.events import FACTS
from feints.lab.lexicon import LEXICON
from feints.lab.questions import FORMS, HELD_OUT_PAIRS, KINDS
from feints.lab.reader import read
from feints.lab.vocabulary import tokens, untokenise, vocabulary
from feints.lab.world import (
    SPLITS,
    WORLD_VERSION,
    LabProblem,
    generate,
    lab_problems,
    problems,
)

DIGESTS = {2: "a53905b9bceb0af434585190fd4b334807620577cdaa51937b7962d5c2a80fa9"}
"""World version -> hash of the first problems of every split: who changes them raises the version."""

DIGEST_CODE = """
import hashlib
from feints.lab.world import SPLITS, generate
text = "\\n".join(f"{p.id} {p.question} {p.answer}" for s in SPLITS for i in range(40) for p in [generate(s, i, i % 3)])
print(hashlib.sha256(text.encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def sample() -> dict[str, list[LabProblem]]:
    return {split: [generate(split, index) for index in range(400)] for split in SPLITS}


def content(question: str) -> tuple[object, ...]:
    """What matters in a problem, found from its text: forms, things and numbers, without names, order or wording."""
    reading = read(question)
    parts = []
    for text in [*reading.useful, reading.core_question]:
        match = grammar.match(text)
        assert match is not None
        slots = {
            slot: value for slot, value in match.slots.items() if slot not in ("a", "b", "c", "his", "he", "j", "s")
        }
        parts.append((match.form.name, tuple(sorted(slots.items()))))
    return tuple(sorted(parts))


@pytest.mark.parametrize("hash_seed", ["1", "4242"])
def test_same_problems_in_any_process(hash_seed: str) -> None:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", DIGEST_CODE], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == DIGESTS[WORLD_VERSION], (
        "problems changed: raise WORLD_VERSION and note the new digest"
    )


def test_seed_and_index_make_the_problem() -> None:
    assert generate("train", 7, 3) == generate("train", 7, 3)
    texts = {generate("train", index, seed).question for index in range(50) for seed in range(3)}
    assert len(texts) > 145
    assert generate("train", 17).id == "lab/train/000017"
    assert generate("train", 17, 2).id == "lab/train/000017@2"


def test_each_split_keeps_its_rule(sample: dict[str, list[LabProblem]]) -> None:
    for split, found in sample.items():
        assert {problem.steps for problem in found} == set(SPLITS[split].steps)
        assert {problem.irrelevant for problem in found} == {0, 1, 2, 3}
        for problem in found:
            assert len(problem.kinds) == problem.steps
            assert 2 <= problem.answer <= 999


def test_held_out_pairs_only_in_unseen(sample: dict[str, list[LabProblem]]) -> None:
    for split, found in sample.items():
        for problem in found:
            assert bool(read(problem.question).pairs & HELD_OUT_PAIRS) == (split == "unseen"), problem.question


def test_held_out_paraphrases_only_in_unseen(sample: dict[str, list[LabProblem]]) -> None:
    for split, found in sample.items():
        for problem in found:
            for text in grammar.sentences(problem.question):
                match = grammar.match(text)
                assert match is not None and match.held_out == (split == "unseen"), text


def test_no_content_in_two_splits(sample: dict[str, list[LabProblem]]) -> None:
    other_seed = {split: [generate(split, index, 5) for index in range(200)] for split in SPLITS}
    home: dict[tuple[object, ...], str] = {}
    shared = 0
    for source in (sample, other_seed):
        for split, found in source.items():
            for problem in found:
                key = content(problem.question)
                shared += key in home
                assert home.setdefault(key, split) == split, problem.question
    assert shared > 0, "contents never recur, so this test shows nothing"


def test_problems_are_distinct_records() -> None:
    found = problems("test", 300)
    assert len({problem.question for problem in found}) == 300
    assert len({problem.id for problem in found}) == 300
    first = generate("test", 0)
    assert (found[0].id, found[0].question, found[0].answer) == (first.id, first.question, str(first.answer))
    assert (found[0].task, found[0].split, found[0].level) == ("lab", "test", first.steps)
    assert found[0].topic in KINDS
    assert [problem.id for problem in lab_problems("test", 20)] == [problem.id for problem in found[:20]]


def test_a_repeated_text_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feints.lab.world.generate", lambda split, index, seed: generate(split, index // 2, seed))
    assert [problem.id[-2:] for problem in lab_problems("train", 3)] == ["00", "01", "02"]


def test_grammar_is_rich_enough() -> None:
    assert len(KINDS) >= 12
    for form in FORMS.values():
        assert len(set(form.trained)) >= 3 and len(set(form.held_out)) >= 2, form.name
        assert not set(form.trained) & set(form.held_out), form.name
    assert set().union(*HELD_OUT_PAIRS) <= set(KINDS)


def test_every_template_means_one_thing() -> None:
    assert all(len(found) == 1 for found in grammar.patterns().values())
    phrases = Counter(phrase for phrases in LEXICON.values() for phrase in phrases)
    assert max(phrases.values()) == 1


def test_every_kind_and_form_occurs() -> None:
    kinds: set[str] = set()
    forms: set[str] = set()
    for index in range(1500):
        problem = generate("train", index)
        kinds |= set(problem.kinds)
        forms |= {m.form.name for text in grammar.sentences(problem.question) if (m := grammar.match(text))}
    assert kinds == set(KINDS)
    assert forms == set(FORMS)


def test_held_out_wording_uses_known_words() -> None:
    def words(held_out: bool) -> set[str]:
        templates = [t for form in FORMS.values() for t in (form.held_out if held_out else form.trained)]
        return {word for template in templates for word in tokens(re.sub(r"\{\w+\}", " ", template))}

    assert words(held_out=True) <= words(held_out=False)


@pytest.mark.slow
def test_vocabulary_is_exact() -> None:
    seen: set[str] = set()
    for split in SPLITS:
        for index in range(1500):
            problem = generate(split, index)
            reading = read(problem.question)
            rng = random.Random(index)
            texts = [problem.question, wording.say_answer(reading.answer)]
            texts += [wording.draw_step(step, rng, step.index, len(reading.steps)) for step in reading.steps]
            texts += [wording.say_unit_fact(step) for step in reading.steps if step.unit_fact]
            for text in texts:
                found = tokens(text)
                assert untokenise(found) == text
                seen.update(found)
    assert seen == set(vocabulary())


def test_vocabulary_is_small() -> None:
    assert len(vocabulary()) <= 600
    assert list(vocabulary()) == sorted(set(vocabulary()))


def test_pretraining_reads_every_kind_of_fact() -> None:
    sentences = [text for index in range(2500) for text in grammar.sentences(generate("language", index).question)]
    forms = {match.form.name for text in sentences if (match := grammar.match(text))}
    assert forms >= {form.name for form in FACTS}


def test_unknown_split_names_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="validation"):
        generate("validaton", 0)


def test_digest_code_is_what_is_hashed() -> None:
    text = "\n".join(
        f"{p.id} {p.question} {p.answer}" for s in SPLITS for i in range(40) for p in [generate(s, i, i % 3)]
    )
    assert hashlib.sha256(text.encode()).hexdigest() == DIGESTS[WORLD_VERSION]
