"""The direction of imports and the purity of the core: the tools that check each commit run here too."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)


def test_imports_point_down_only() -> None:
    found = run(sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()")
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_core_is_pure() -> None:
    found = run(sys.executable, "-m", "ruff", "check", "--select", "TID251", "innkeeper/core")
    assert found.returncode == 0, found.stdout


def test_the_lint_of_the_core_bites() -> None:
    bad = "import time\nfrom datetime import datetime\nfrom uuid import UUID, uuid4\n"
    bad += "print(time.time(), datetime.now(), UUID(int=0), uuid4())\n"
    words = "-m ruff check --select TID251 --output-format concise --stdin-filename"
    found = subprocess.run(
        [sys.executable, *words.split(), "innkeeper/core/probe.py", "-"],
        cwd=ROOT,
        input=bad,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 1
    for banned in ("`time`", "`datetime.datetime.now`", "`uuid.uuid4`"):
        assert banned in found.stdout
    assert "`uuid.UUID`" not in found.stdout


def test_the_core_uses_only_the_standard_library_and_itself() -> None:
    for path in (ROOT / "innkeeper/core").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                top = name.split(".")[0]
                assert top in sys.stdlib_module_names or name.startswith("innkeeper.core"), (
                    f"{path.name} imports {name}"
                )
