"""The house rules that a machine can hold: import floors, budgets, a fast and light front door."""

from __future__ import annotations

import ast
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {
    "data_manifests": set(),
    "curation": {"data_manifests"},
    "annotation": {"data_manifests"},
    "restore": {"data_manifests", "curation"},
    "training": {"data_manifests", "curation", "restore"},
    "authface": {"data_manifests", "curation", "annotation", "restore", "training"},
}
HEAVY = (
    "torch",
    "diffusers",
    "pyarrow",
    "cv2",
    "pandas",
    "gradio",
    "deltalake",
    "label_studio_sdk",
)


def part_files() -> list[Path]:
    return [path for part in FLOORS for path in sorted((ROOT / part).rglob("*.py"))]


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield (node.module or "").split(".")[0]


def functions_of(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            last = body[-1].end_lineno if body else None
            yield node.name, (last - body[0].lineno + 1) if last else 0


@pytest.mark.parametrize("path", part_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_go_down(path: Path) -> None:
    part = path.relative_to(ROOT).parts[0]
    upward = (set(imports_of(path)) & set(FLOORS)) - FLOORS[part] - {part}
    assert not upward, f"{path.relative_to(ROOT)} imports {upward}, which is not below {part}"


def test_an_upward_import_would_be_seen(tmp_path: Path) -> None:
    """The floor test can fail: it reads imports inside functions too."""
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from training.loop import run\n    return run\n")
    assert "training" in set(imports_of(bad)) - FLOORS["curation"]


def test_parts_are_flat() -> None:
    nested = [p for p in part_files() if len(p.relative_to(ROOT).parts) > 2]
    assert not nested


def test_files_and_functions_keep_their_budgets() -> None:
    lengths = {p.relative_to(ROOT): len(p.read_text().splitlines()) for p in part_files()}
    assert not {p: n for p, n in lengths.items() if n > 400}
    bodies = [(p, name, n) for p in part_files() for name, n in functions_of(p)]
    assert not [b for b in bodies if b[2] > 60]
    assert statistics.median(lengths.values()) <= 200
    assert statistics.median(n for _, _, n in bodies) <= 10


def test_help_imports_nothing_heavy() -> None:
    asked = f"import sys, authface.cli; print([m for m in {HEAVY!r} if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_help_answers_in_three_times_an_empty_python_plus_300_ms() -> None:
    """Time on a processor, best of five runs each: what a wait is where nothing else runs.

    By the clock a second process of the tests would count too.
    """

    def best(*command: str) -> float:
        times = []
        for _ in range(5):
            start = _of_children()
            subprocess.run([sys.executable, *command], capture_output=True, check=True)
            times.append(_of_children() - start)
        return min(times)

    empty, asked = best("-c", "pass"), best("-m", "authface.cli", "--help")
    assert asked <= 3 * empty + 0.3, f"{asked:.3f} s against {empty:.3f} s for an empty Python"


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
