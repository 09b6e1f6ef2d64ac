"""The fuzzer: `python -m tests.fuzz [--cases N] [--blind] [HARNESS ...]`, guided by coverage unless it is blind.

Each harness runs in a process of its own: a crash of a parser written in C ends that one, and is told.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec

#: No single case may take longer; libFuzzer ends the process, and keeps the case.
SECONDS_A_CASE = 20
MEMORY_MB = 2048
#: Where libFuzzer puts the bytes that a harness failed on.
KEPT = f"{tempfile.gettempdir()}/prefect-alyx-fuzz-"
#: A file system in memory, where there is one: two harnesses write files in every case.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  (a directory of our own is made in it)


def fuzz(name: str, cases: int, seed: int, kept: str) -> None:
    """Run one harness in this process; it ends with libFuzzer's word on it."""
    import atheris

    with atheris.instrument_imports(include=["tasks"], enable_loader_override=False):
        from tests.fuzz.harnesses import HARNESSES
    harness = next(one for one in HARNESSES if one.__name__ == name)
    limits = (f"-runs={cases}", f"-seed={seed}", f"-timeout={SECONDS_A_CASE}", f"-rss_limit_mb={MEMORY_MB}")
    atheris.Setup([sys.argv[0], *limits, "-max_len=400", "-verbosity=0", f"-artifact_prefix={kept}"], harness)
    atheris.Fuzz()


def roll(name: str, cases: int, seed: int, _: str) -> None:
    """Run one harness on dice alone: ten times as many cases in the same time, and without atheris."""
    from tests.fuzz.harnesses import HARNESSES

    harness = next(one for one in HARNESSES if one.__name__ == name)
    dice = random.Random(seed)
    for _ in range(cases):
        harness(dice.randbytes(dice.randrange(300)))


def run(name: str, cases: int, seed: int, *more: str) -> bool:
    """Run one harness in a process of its own, and say what became of it."""
    numbers = ["--cases", str(cases), "--seed", str(seed)]
    command = [sys.executable, "-m", "tests.fuzz", "--child", name, *numbers, "--kept", KEPT, *more]
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="prefect-alyx-fuzz-", dir=MEMORY) as place:
        own = {**os.environ, "TMPDIR": place}  # libFuzzer ends a process without a chance to tidy up
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=own)
    passed = done.returncode == 0
    print(
        f"{name:12} {cases:>9,} cases {time.monotonic() - begin:7.1f} s  {'passed' if passed else 'FAILED'}", flush=True
    )
    if not passed:
        print(done.stdout[-4000:], done.stderr.rpartition("INFO: ")[2][-4000:], sep="\n")
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("harness", nargs="*", help="which harnesses; all by default")
    parser.add_argument("--cases", type=int, default=100_000, help="cases in all, shared among the harnesses")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes other cases")
    parser.add_argument("--blind", action="store_true", help="dice alone, without guidance")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--kept", default=KEPT, help="how the names of files begin that hold what a harness failed on")
    asked = parser.parse_args()
    if asked.child:
        (roll if asked.blind else fuzz)(asked.child, asked.cases, asked.seed, asked.kept)
        return 0
    if not asked.blind and find_spec("atheris") is None:
        print("The fuzzer needs atheris: pip install -e '.[fuzz]'; or give --blind", file=sys.stderr)
        return 2
    from tests.fuzz.harnesses import HARNESSES

    chosen = {
        one.__name__: share for one, share in HARNESSES.items() if not asked.harness or one.__name__ in asked.harness
    }
    whole = sum(chosen.values())
    counts = {name: -(-asked.cases * share // whole) for name, share in chosen.items()}
    more = ["--blind"] if asked.blind else []
    passed = [run(name, cases, asked.seed, *more) for name, cases in counts.items()]
    print(f"{sum(counts.values()):,} cases, {passed.count(False)} harnesses failed")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
