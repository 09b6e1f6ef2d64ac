"""Break claim, verify and publish on purpose, one slip at a time, and see whether their tests notice.

Each mutant lives in a copy of the working tree. A survivor is printed, and makes the exit code 1.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent.parent
TESTS = ("test_partials.py", "test_publish.py")
CLIENTS = "tasks/clients"
#: File, what stands there, and what a slip would make of it.
MUTANTS = (
    # claim
    ("partials.py", "if taken := self._take(name, mine):", "if taken := name:"),
    ("partials.py", " and is_free(self.folder, name)]", "]"),
    ("owners.py", "    return not _alive(int", "    return _alive(int"),
    ("partial.py", "_hash.update(data)\n        self.size", "_hash.update(data[1:])\n        self.size"),
    (
        "partials.py",
        "        partial.rehash(self.pace.check)\n",
        "        partial.size = os.fstat(partial.fd).st_size\n",
    ),
    ("owners.py", "st_mtime > LEASE_SECONDS", "st_mtime < LEASE_SECONDS"),
    ("partials.py", "            self._detach(target)\n", "            pass\n"),
    ("partial.py", "            os.ftruncate(self.fd, 0)\n", ""),
    ("partials.py", "key=self.folder.size, reverse=True", "key=self.folder.size"),
    ("partials.py", 'else f"from-{short_hash(address)}"', 'else "from"'),
    ("partials.py", "> retention_seconds and", "< retention_seconds and"),
    ("partials.py", 'return target if self.folder.size(target) >= 0 else ""', 'return ""'),
    ("partial.py", "            self.name = renamed\n", ""),
    ("partials.py", "_mark(name) == _mark(partial.name) and ", ""),
    ("partials.py", " and not self._is_held_elsewhere(name)", ""),
    ("partial.py", "        self.pieces.discard()\n        self.validator", "        self.validator"),
    ("pieces.py", "at - self.start)", "0)"),
    ("pieces.py", "if piece.start <= at < piece.span.stop", "if at < piece.span.stop"),
    # verify
    ("proof.py", "self.size is not None and size != self.size", "False"),
    ("proof.py", "size != self.size:", "size < self.size:"),
    ("proof.py", "if self.digest and digest != self.digest:", "if False:"),
    ("proof.py", "if not self.digest and not looks_sane", "if False and not looks_sane"),
    ("proof.py", " and not looks_like_a_page(head, name)\n", "\n"),
    ("proof.py", '.removeprefix(b"\\xef\\xbb\\xbf")', ""),
    ("proof.py", '.replace("-", "")', ""),
    # publish
    ("publish.py", '        partial.prove(relative.rpartition("/")[2])\n', ""),
    ("publish.py", "        partial.disk.fsync(partial.fd)\n", ""),
    ("publish.py", "            tree.disk.fsync(fd)\n", ""),
    ("publish.py", "            partial.release()\n", "            pass\n"),
    ("publish.py", "if not stat.S_ISREG(mode):", "if stat.S_ISDIR(mode):"),
    ("publish.py", "        _refuse_what_is_no_file(tree, fd,", "        str((name, fd,"),
    ("publish.py", "follow_symlinks=False).st_mode", "follow_symlinks=True).st_mode"),
)


def survives(file: str, old: str, new: str) -> bool:
    """Whether all tests pass with this slip in a file."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "project"
        shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns(".git", ".venv*", ".*_cache", "__pycache__"))
        target = copy / CLIENTS / file
        text = target.read_text()
        if old not in text:
            sys.exit(f"{file} no longer says {old!r}: bring this list up to date.")
        target.write_text(text.replace(old, new, 1))
        tests = [f"tests/{name}" for name in TESTS]
        run = [sys.executable, "-m", "pytest", "-qx", "-m", "not slow", "-p", "no:cacheprovider", *tests]
        return subprocess.run(run, cwd=copy, capture_output=True, check=False).returncode == 0


def main() -> int:
    """Try every mutant."""
    alive = 0
    for file, old, new in MUTANTS:
        survived = survives(file, old, new)
        alive += survived
        print(f"{'SURVIVED' if survived else 'killed':9} {file}: {old.strip()!r} -> {new.strip()!r}", flush=True)
    print(f"{len(MUTANTS) - alive} of {len(MUTANTS)} killed")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
