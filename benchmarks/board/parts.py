"""The parts of `make bench`: what each compares, the scripts that measure it, and which of our files it depends on."""

from __future__ import annotations

from dataclasses import dataclass

Step = tuple[str, ...]
"""A script of benchmarks/ and its options; `--json FILE` is added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One comparison."""

    name: str
    title: str
    peers: tuple[str, ...]
    """Environments it needs, by the names of benchmarks/peers."""
    steps: tuple[Step, ...]
    """Run one after the other; each is kept as soon as it is done."""
    covers: tuple[str, ...]
    """Our files whose change makes the figures stale, from the repository's root."""
    minutes: float
    """About how long on two quiet cores."""
    shown: tuple[str, ...] = ()
    """Figures for the README's short table, by the beginning of their text; the page shows all."""
    notes: tuple[str, ...] = ()
    """What a reader must know to judge the comparison."""


PARTS: tuple[Part, ...] = (
    Part(
        name="client",
        title="Asking a teacher",
        peers=("curator", "distilabel"),
        steps=(("client.py", "peers", "--runs", "2", "--limit", "60"),),
        covers=("src/feints/generate", "benchmarks/client.py", "benchmarks/peers/clients.py"),
        minutes=9,
        shown=("1,000 requests", "requests sent again", "requests of an identical", "requests of a run with one"),
        notes=(
            "The teacher is a server on loopback that answers after 300 ms. Times are of the call itself, without "
            "imports; a run that has not finished after 60 s is given up.",
            "curator fetches the encoding cl100k_base of tiktoken when it starts; on a machine without that file "
            "a stub that counts four characters a token takes its place, so its token counts are not to be trusted, "
            "and it saves curator a little work. Its rate limits are lifted (10 million requests a minute). One of "
            "its requests in every run is a test call.",
            "distilabel needs `requests`, which its own requirements do not name.",
            "`kill -9` hits every process of a client once the server has answered 600 of 1,000. What is in flight "
            "then is lost to any client; ours has nearly all of the 400 others in flight.",
        ),
    ),
    Part(
        name="verify",
        title="Judging answers",
        peers=("math-verify",),
        steps=(
            ("verify_speed.py", "--rows", "600", "--rounds", "3"),
            ("verify_agreement.py", "--peer"),
        ),
        covers=("src/feints/verify", "benchmarks/verify_speed.py", "benchmarks/verify_agreement.py"),
        minutes=4,
        shown=(
            "600 rows, number, option, yes/no; one",
            "600 rows, latex; one",
            *("wrong answers called right, of 1,102", "right answers called wrong, of 1,102"),
            *("wrong answers called right, of 2,063", "right answers called wrong, of 2,063"),
        ),
        notes=(
            "The rows are the public triples described in shared/data; rows whose truth is a convention, disputed or "
            "a matter of form are left out. What we could not judge counts as an error of ours.",
            "math-verify runs without time limits where speed is measured, which is faster than its default. The "
            "labels of math_pairs were partly made with it; the rows decided by hand are the informative ones. It "
            "knows no options and no yes or no, so numbers and LaTeX of the responses are also counted alone.",
            "math-verify is also our second opinion on LaTeX that our own checkers leave open.",
        ),
    ),
    Part(
        name="train",
        title="Training",
        peers=("trl",),
        steps=(
            ("train_speed.py", "--case", "nano", "--rounds", "3", "--steps", "20"),
            ("train_speed.py", "--case", "large", "--rounds", "3", "--steps", "8"),
            ("train_speed.py", "--task", "dpo", "--case", "nano", "--rounds", "3", "--steps", "20"),
            ("train_speed.py", "--task", "dpo", "--case", "large", "--rounds", "3", "--steps", "4"),
        ),
        covers=("src/feints/train", "benchmarks/train_speed.py", "benchmarks/training"),
        minutes=25,
        shown=(
            *("SFT, nano: speed, ", "SFT, nano: peak", "SFT, large: speed, ", "SFT, large: peak"),
            *("DPO, nano: speed, ", "DPO, nano: peak", "DPO, large: speed, ", "DPO, large: peak"),
        ),
        notes=(
            "Random Llama-shaped students (nano: 4 layers of 128, vocabulary 512; large: 4 layers of 256, vocabulary "
            "32,000), fp32 on the CPU, 16 examples (DPO: 8 pairs) an optimiser step on both sides. TRL runs in several "
            "ways of making rows; each way stands for itself and `TRL, its best` is the fastest of each round.",
            "Tokens are real ones: padding is nobody's merit. The held-out loss shows that both learnt as much. Peak "
            "memory is that of the process, libraries included.",
        ),
    ),
    Part(
        name="sampling",
        title="Sampling a student",
        peers=("transformers",),
        steps=(("sampling.py", "--prompts", "250", "--samples", "4", "--rounds", "3"),),
        covers=("src/feints/generate", "benchmarks/sampling.py"),
        minutes=43,
        shown=("greedy, 100 tokens each, 1,000 texts, texts", "sampled, uneven lengths, 1,000 texts, texts"),
        notes=(
            "One process, one model, both sides in turn: `generate` in batches as an examination loop written in ten "
            "lines, and the continuous batching of transformers, under the same limits on the same prompts.",
        ),
    ),
    Part(
        name="keysteps",
        title="Key steps",
        peers=(),
        steps=(("keysteps.py",),),
        covers=("src/feints/curate/keysteps.py", "benchmarks/keysteps.py"),
        minutes=2,
        shown=("both masks of pairs of 200 tokens, one token",),
        notes=("The textbook table and its trace back, in Python, at 200 tokens a side; seconds of computing.",),
    ),
    Part(
        name="programs",
        title="Running programs",
        peers=(),
        steps=(("sandbox.py", "--programs", "2000", "--rounds", "5", "--plain", "20"),),
        covers=("src/feints/verify", "benchmarks/sandbox.py"),
        minutes=3,
        shown=("sandbox (monty", "sandlock"),
        notes=("Beside a plain Python process for each program, which confines nothing; all on one core.",),
    ),
    Part(
        name="sizes",
        title="What is installed",
        peers=("curator", "distilabel", "math-verify", "transformers", "trl"),
        steps=(("sizes.py",),),
        covers=("pyproject.toml", "constraints.txt", "benchmarks/sizes.py"),
        minutes=6,
        shown=("installed, core, MB", "installed, with training, MB"),
        notes=(
            "Packages and MB in a fresh environment, pip, setuptools and compiled caches left out. `feints` is the "
            "core: everything but training; `feints[train]` is to be read beside TRL and transformers.",
        ),
    ),
    Part(
        name="fuzz",
        title="Mutated answers",
        peers=(),
        steps=(("fuzz.py", "--count", "200000", "--seed", "16"),),
        covers=("src/feints/verify", "benchmarks/fuzz.py", "benchmarks/mutation.py"),
        minutes=20,
        notes=(
            "Real answers and rationales of the public data, mutated; a crash, a hang (beyond the deadline of the "
            "worker) or a worker of another opinion fails the part; the bar for not_checked is 0.1 %.",
            "No rule was made on the seed shown: what is seen of a seed shapes the rules, so it changes each time.",
        ),
    ),
    Part(
        name="gpu",
        title="On a GPU",
        peers=("trl",),
        steps=(("gpu.py",),),
        covers=("src/feints/train", "benchmarks/gpu.py"),
        minutes=20,
        notes=(
            "Random Qwen2-shaped students of 0.5B and 1.5B parameters, bf16, one GPU. Model FLOP utilisation counts "
            "six FLOP a parameter and token plus attention, over the card's dense bf16 peak. Skipped without CUDA.",
        ),
    ),
)


def chosen(names: str) -> list[Part]:
    """The parts named, separated by commas or spaces; all for none.

    Raises:
        SystemExit: one is not known.
    """
    known = {part.name: part for part in PARTS}
    wanted = names.replace(",", " ").split() or list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SystemExit(f"no part is called {', '.join(unknown)}; known: {', '.join(known)}")
    return [known[name] for name in wanted]
