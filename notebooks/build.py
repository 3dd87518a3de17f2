"""Keep the French lessons in step with the English ones.

    python -m notebooks.build             write the French notebooks from the English ones and the French texts
    python -m notebooks.build --execute   the same, then run the notebooks and store their outputs (local backend)
    python -m notebooks.build --execute 03 04   only these lessons
    python -m notebooks.build --check     change nothing; exit 1 and say what is out of step

An English notebook is the source: its code cells are the French notebook's code cells. The French text of a lesson is
``fr/NAME.md``: the name of its source, then the text of each Markdown cell under the cell's id and a hash of the
English text that it translates. Change the English, and the hash tells which French paragraphs are out of date.
"""

import argparse
import hashlib
import os
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from clipper_magic.managers.choice import DEFAULT_CLUSTER

HERE = Path(__file__).resolve().parent
SOURCE = re.compile(r"^<!-- source: (?P<name>[\w-]+) -->$", re.MULTILINE)
CELL = re.compile(r"^<!-- cell: (?P<id>[\w-]+) en: (?P<hash>[0-9a-f]{8}) -->$", re.MULTILINE)
NARROW_NBSP, NBSP = "\u202f", "\u00a0"


def digest(text: str) -> str:
    """Return the hash that ties a French text to the English text that it translates."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def read_french(path: Path) -> tuple[str, dict[str, tuple[str, str]]]:
    """Return the name of the English source, and for each cell id the hash of its English text and the French text."""
    text = path.read_text(encoding="utf-8")
    source = SOURCE.search(text)
    if source is None:
        raise SystemExit(f"{path.name}: the line <!-- source: NAME --> is missing")
    marks = list(CELL.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    cells = {mark["id"]: (mark["hash"], text[mark.end() : end].strip()) for mark, end in zip(marks, ends, strict=True)}
    return source["name"], cells


def translate(
    english: nbformat.NotebookNode, texts: dict[str, tuple[str, str]], before: nbformat.NotebookNode | None
) -> nbformat.NotebookNode:
    """Return the French notebook: the English cells in order, Markdown replaced.

    A code cell keeps the outputs that it had `before`, unless its code has changed since.
    """
    french = nbformat.from_dict(english)
    known = {(cell.id, cell.source): cell for cell in before.cells} if before else {}
    for cell in french.cells:
        if cell.cell_type == "markdown":
            cell.source = texts[cell.id][1]
            continue
        old = known.get((cell.id, cell.source))
        cell.outputs, cell.execution_count = (old.outputs, old.execution_count) if old else ([], None)
    return french


def lessons() -> Iterator[tuple[Path, Path, Path]]:
    """Yield (English notebook, French text, French notebook) of each lesson."""
    for french in sorted((HERE / "fr").glob("*.md")):
        name, _ = read_french(french)
        yield HERE / "en" / f"{name}.ipynb", french, french.with_suffix(".ipynb")


def load(path: Path) -> nbformat.NotebookNode:
    """Read a notebook in the current format."""
    return nbformat.read(path, as_version=4)


def save(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook without what differs between machines and runs."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook, version=4).rstrip("\n") + "\n", encoding="utf-8")


def private_environment(cluster: str, backend: str = "local") -> dict[str, str]:
    """Return an environment for lessons: a cluster of their own, and none of the user's settings.

    Parameters
    ----------
    cluster : str
        The name that stands for "default-cluster".
    backend : {"local", "docker"}
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLIPPER_")}
    plain = {"CLIPPER_VERBOSE": "false", "CLIPPER_DEBUG": "false", "CLIPPER_CONFIRM_STOP": "false"}
    plain["PYTHON_COLORS"] = "0"  # Python 3.13 colours tracebacks in notebooks, also those that a script prints
    return environment | plain | {"CLIPPER_BACKEND": backend, "CLIPPER_CLUSTER": cluster}


def run(path: Path, environment: dict[str, str]) -> nbformat.NotebookNode:
    """Run a notebook in its own folder and return it with its outputs; a cell that fails without its tag raises."""
    notebook = load(path)
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=180, kernel_name="python3", coalesce_streams=True, resources=resources)
    client.execute(env=environment)
    return notebook


def execute(path: Path) -> None:
    """Run a notebook on local processes and store its outputs, as a reader would get them."""
    cluster = f"lessons-{secrets.token_hex(3)}"
    text = nbformat.writes(run(path, private_environment(cluster)))
    save(nbformat.reads(text.replace(cluster, DEFAULT_CLUSTER), as_version=4), path)


def code_of(notebook: nbformat.NotebookNode) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return (id, source, tags) of each code cell."""
    return [
        (cell.id, cell.source, tuple(cell.metadata.get("tags", ())))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def problems() -> Iterator[str]:
    """Yield one line for each thing that is out of step."""
    translated = set()
    for english_path, text_path, french_path in lessons():
        english, (_, texts) = load(english_path), read_french(text_path)
        translated.add(english_path)
        markdown = {cell.id: cell.source for cell in english.cells if cell.cell_type == "markdown"}
        for cell_id, source in markdown.items():
            if cell_id not in texts:
                yield f"{text_path.name}: cell {cell_id} has no French text"
            elif texts[cell_id][0] != digest(source):
                yield f"{text_path.name}: cell {cell_id}: the English changed since the translation ({digest(source)})"
        yield from (f"{text_path.name}: cell {cell_id} is not in the source" for cell_id in texts.keys() - markdown)
        for cell_id, (_, text) in texts.items():
            yield from (f"{text_path.name}: cell {cell_id}: {fault}" for fault in typography(text))
        if not french_path.exists():
            yield f"{french_path.name}: missing"
            continue
        french = load(french_path)
        if code_of(french) != code_of(english):
            yield f"{french_path.name}: its code cells differ from {english_path.name}"
        for cell in french.cells:
            if cell.cell_type == "markdown" and cell.source != texts.get(cell.id, ("", None))[1]:
                yield f"{french_path.name}: cell {cell.id} differs from {text_path.name}"
    for path in sorted((HERE / "en").glob("*.ipynb")):
        if path not in translated:
            yield f"{path.name}: has no French text"
    for path in sorted(HERE.glob("*/*.ipynb")):
        notebook = load(path)
        if "widgets" in notebook.metadata:
            yield f"{path.name}: holds widget state (metadata.widgets)"
        waiting = [cell.id for cell in notebook.cells if cell.cell_type == "code" and cell.execution_count is None]
        if waiting:
            yield f"{path.parent.name}/{path.name}: not executed: {', '.join(waiting)}"


def typography(text: str) -> Iterator[str]:
    """Yield what French typography forbids.

    A whole no-break space belongs before a colon and inside guillemets, a narrow one before ``; ! ? %``.
    """
    prose = re.sub(r"```.*?```|`[^`]*`|https?://\S+|<[^>]*>|\]\([^)]*\)", "", text, flags=re.DOTALL)
    for mark in re.finditer(r"(?P<before>.)(?P<mark>[;:!?%])(?=\s|$)", prose):
        if mark["before"] not in (NBSP if mark["mark"] == ":" else NARROW_NBSP, "!", "?"):
            yield f"not its space before {mark['mark']!r} in {prose[max(0, mark.start() - 20) : mark.end()]!r}"
    for mark in re.finditer(r"«(?P<after>.)|(?P<before>.)»", prose):
        if (mark["after"] or mark["before"]) != NBSP:
            yield f"no no-break space inside guillemets at {prose[max(0, mark.start() - 10) : mark.end() + 10]!r}"
    if re.search(r"\w'", prose):
        yield "a straight apostrophe (use \u2019)"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m notebooks.build", description="Build the French lessons.")
    parser.add_argument("--execute", action="store_true", help="run the notebooks and store their outputs")
    parser.add_argument("--check", action="store_true", help="change nothing; say what is out of step")
    parser.add_argument("lessons", nargs="*", help="numbers of lessons, such as 03 (default: all)")
    arguments = parser.parse_args()
    for english_path, text_path, french_path in lessons():
        if arguments.check or (arguments.lessons and text_path.name[:2] not in arguments.lessons):
            continue
        before = load(french_path) if french_path.exists() else None
        save(translate(load(english_path), read_french(text_path)[1], before), french_path)
        for path in (english_path, french_path) if arguments.execute else ():
            sys.stdout.write(f"running {path.parent.name}/{path.name}\n")
            execute(path)
    faults = list(problems())
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
