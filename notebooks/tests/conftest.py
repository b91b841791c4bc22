"""What several tests need."""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parent
NOTEBOOK = NOTEBOOKS / "Graphs.ipynb"

sys.path[:0] = [str(NOTEBOOKS), str(HERE)]

import influxdb  # noqa: E402

# Runs last, in the notebook's own kernel.
PROBE = """
import json, os, pathlib, sys
sys.path.insert(0, os.environ["PROBE_DIR"])
import probe
pathlib.Path(os.environ["PROBE_FILE"]).write_text(json.dumps({
    "influx": probe.everything(influx),
    "stored": probe.everything(stored),
}))
"""


@dataclass
class Ran:
    """A notebook after its run."""

    notebook: nbformat.NotebookNode
    drawn: dict[str, dict]

    def outputs(self, cell: str) -> list[nbformat.NotebookNode]:
        """Find what a cell showed."""
        return next(c for c in self.notebook.cells if c["id"] == cell).outputs

    def said(self, cell: str) -> str:
        """Find what a cell printed."""
        return "".join(out.text for out in self.outputs(cell) if out.output_type == "stream")

    def pictures(self, cell: str) -> int:
        """Count the pictures that a cell showed."""
        return sum("image/png" in out.get("data", {}) for out in self.outputs(cell))


@pytest.fixture(scope="session")
def server() -> Iterator[influxdb.Server]:
    """Give a running InfluxDB."""
    with influxdb.run() as server:
        yield server


@pytest.fixture
def run_notebook(tmp_path: Path) -> Callable[..., Ran]:
    """Give a function that runs the whole notebook, in the environment that is named."""

    def run(parameters: str = "", **environment: str) -> Ran:
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        if parameters:
            # As papermill does: a cell behind the one with the tag.
            tagged = ["parameters" in c.metadata.get("tags", []) for c in notebook.cells]
            injected = nbformat.v4.new_code_cell(parameters)
            notebook.cells.insert(tagged.index(True) + 1, injected)
        notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
        file = tmp_path / "probe.json"
        ours = ("INFLUX_", "RIGLINE", "WINDOW", "LIVE_", "SHOW_")
        clean = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
        env = {
            **clean,
            # Else frozen modules make the debugger warn.
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "IPYTHONDIR": str(tmp_path / "ipython"),
            "PROBE_DIR": str(HERE),
            "PROBE_FILE": str(file),
            "RIGLINE": str(tmp_path / "no-such-program"),
            **environment,
        }
        client = NotebookClient(
            notebook,
            timeout=240,
            kernel_name="python3",
            resources={"metadata": {"path": str(NOTEBOOKS)}},
        )
        client.execute(env=env)
        for cell in notebook.cells:
            for out in cell.get("outputs", []):
                assert out.output_type != "error", out
                assert out.get("name") != "stderr", out.text
                assert "Traceback" not in out.get("text", "")
        return Ran(copy.deepcopy(notebook), json.loads(file.read_text()))

    return run
