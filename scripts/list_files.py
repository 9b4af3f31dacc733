"""List the files of the project in docs/files.md, each with the first line of its docstring."""

import ast
from collections.abc import Iterator
from pathlib import Path

from scripts.draw_rooms import PACKAGE, ROOT, layers

LIST = ROOT / "docs" / "files.md"
COMMAND = ".venv/bin/python -m scripts.list_files"
HEADING = """# What is where

All files, room by room, from the highest layer of the package to the lowest: a room imports only
what stands below it. Each line is the first line of the file's docstring. Written by `make docs`;
change the docstrings instead.
"""


def main() -> None:
    LIST.write_text(listing(), encoding="utf-8")
    print(LIST.relative_to(ROOT))


def listing() -> str:
    """The list as Markdown, of the files as they are now."""
    rooms = [room for layer in layers() for room in layer]
    modules = [PACKAGE / f"{room}.py" for room in rooms]
    parts = [HEADING, *section(PACKAGE, filter(Path.is_file, modules))]
    packages = [PACKAGE / room for room in rooms if (PACKAGE / room).is_dir()]
    for folder in (*packages, *(ROOT / name for name in ("examples", "scripts", "benchmarks"))):
        parts += section(folder, sorted((*folder.rglob("*.py"), *folder.rglob("*.sh"))))
    return "".join(parts)


def section(folder: Path, files: Iterator[Path] | list[Path]) -> Iterator[str]:
    opening = folder / "__init__.py"
    yield f"\n## {folder.name}\n\n"
    if opening.is_file():
        yield f"{first_line(opening)}\n\n"
    for file in files:
        if file.name != opening.name:
            name, link = file.relative_to(folder).as_posix(), file.relative_to(ROOT).as_posix()
            yield f"- [{name}](../{link}): {first_line(file)}\n"


def first_line(file: Path) -> str:
    """The first line of a module's docstring, or of a shell script's opening comment."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".sh":
        return text.splitlines()[1].removeprefix("# ")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


if __name__ == "__main__":
    main()
