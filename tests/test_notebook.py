"""The notebook runs from its first cell to its last, and what is in the repository is what it gives."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "blocked_ratio.ipynb"


def shown(notebook: Any) -> list[tuple[int, str]]:
    """Texts and tables that the cells show, by the number of the cell; pictures by their being there."""
    found = []
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            found.append((number, output.get("text") or ("a picture" if "image/png" in data else data["text/plain"])))
    return found


@pytest.mark.filterwarnings("ignore")
def test_the_notebook_gives_what_the_repository_shows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from nbclient import NotebookClient

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    kept = nbformat.read(NOTEBOOK, as_version=4)
    fresh = nbformat.read(NOTEBOOK, as_version=4)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        NotebookClient(fresh, timeout=300, kernel_name="python3").execute()
    assert shown(kept) == shown(fresh)
    assert [text for _, text in shown(kept)].count("a picture") == 2
