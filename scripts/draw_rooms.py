"""Draw the rooms of the package, and which imports which, into docs/pictures/rooms.svg.

Rooms are the layers of import-linter in pyproject.toml; imports are read from the files, which are
not run. An import that goes upward ends the script with an error.
"""

import ast
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "gru_parallel"
PICTURE = ROOT / "docs" / "pictures" / "rooms.svg"
COMMAND = ".venv/bin/python -m scripts.draw_rooms"

# What a room itself imports decides its colours (fill, edge); the first that fits.
KINDS = {
    "lightning": ("Lightning", "#E4DDF4", "#6B4FA0"),
    "torch": ("torch", "#FCE9CC", "#B97A00"),
    "": ("neither", "#D8F0E6", "#00795A"),
}
STEP_X, STEP_Y = 42, 38  # from a room to the next, in pixels
BOX_HEIGHT = 27
MARGIN = 14
LINE_X = 20  # from a box's left edge to the line that leaves it downwards


def main() -> None:
    PICTURE.write_text(picture(), encoding="utf-8")
    print(PICTURE.relative_to(ROOT))


def picture() -> str:
    """The picture as SVG text, of the package as it is now."""
    rows = layers()
    row_of = {room: row for row, rooms in enumerate(rows) for room in rooms}
    imports = {room: set(imported(room)) for room in row_of}
    return drawn(rows, arrows(imports, row_of), [kind(rooms, imports) for rooms in rows])


def layers() -> list[list[str]]:
    """The rooms from the highest layer to the lowest; those of one layer side by side."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (found,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[room.strip() for room in layer.split("|")] for layer in found]


def imported(room: str) -> Iterator[str]:
    """What the files of a room import: names with dots."""
    files = [PACKAGE / f"{room}.py", *(PACKAGE / room).rglob("*.py")]
    # A package that can be run is a command, which stands above all rooms.
    files = [file for file in files if file.name != "__main__.py"]
    for file in filter(Path.is_file, files):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows(imports: dict[str, set[str]], row_of: dict[str, int]) -> set[tuple[int, int]]:
    """Pairs of rows: the first imports the second, which is further down."""
    found = set()
    for room, names in imports.items():
        for name in names:
            package, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            if package != PACKAGE.name or other not in row_of or row_of[other] == row_of[room]:
                continue
            if row_of[other] < row_of[room]:
                raise SystemExit(
                    f"{room} imports {other}, which stands above it in pyproject.toml's layers; "
                    f"move what it needs below {room}."
                )
            found.add((row_of[room], row_of[other]))
    return found


def kind(rooms: Sequence[str], imports: dict[str, set[str]]) -> str:
    libraries = {name.partition(".")[0] for room in rooms for name in imports[room]}
    return next(name for name in KINDS if name in libraries or not name)


def drawn(rows: list[list[str]], pairs: set[tuple[int, int]], kinds: list[str]) -> str:
    names = [", ".join(rooms) for rooms in rows]
    width = max(left(row) + box_width(name) for row, name in enumerate(names)) + MARGIN
    height = 2 * MARGIN + (len(rows) - 1) * STEP_Y + BOX_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="Helvetica, Arial, sans-serif">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *lines(pairs),
        *dots(pairs, names),
        *boxes(names, kinds),
        *legend(right=width - MARGIN, top=MARGIN),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def left(row: int) -> int:
    return MARGIN + row * STEP_X


def box_width(name: str) -> int:
    return max(112, 7 * len(name) + 20)


def middle(row: int) -> float:
    return MARGIN + row * STEP_Y + BOX_HEIGHT / 2


def lines(pairs: set[tuple[int, int]]) -> Iterator[str]:
    """From each room down to the lowest that it imports; into each from the first importer."""
    yield '<g stroke="#A9B2BC" stroke-width="1.3" fill="none">'
    for row in sorted({importer for importer, _ in pairs}):
        lowest = max(other for importer, other in pairs if importer == row)
        yield f'<path d="M{left(row) + LINE_X} {middle(row)}V{middle(lowest)}"/>'
    for row in sorted({other for _, other in pairs}):
        first = min(importer for importer, other in pairs if other == row)
        x, y = left(row), middle(row)
        yield f'<path d="M{left(first) + LINE_X} {y}H{x - 7}"/>'
        head = f"M{x - 8} {y - 4}L{x - 1} {y}L{x - 8} {y + 4}Z"
        yield f'<path d="{head}" fill="#5B6670" stroke="none"/>'
    yield "</g>"


def dots(pairs: set[tuple[int, int]], names: list[str]) -> Iterator[str]:
    yield '<g fill="#27313A">'
    for importer, other in sorted(pairs):
        centre = f'cx="{left(importer) + LINE_X}" cy="{middle(other)}"'
        title = f"<title>{names[importer]} imports {names[other]}</title>"
        yield f'<circle {centre} r="4.2">{title}</circle>'
    yield "</g>"


def boxes(names: list[str], kinds: list[str]) -> Iterator[str]:
    yield '<g font-size="13.5" text-anchor="middle">'
    for row, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        width = box_width(name)
        yield box(left(row), middle(row) - BOX_HEIGHT / 2, width, BOX_HEIGHT, kind)
        yield f'<text x="{left(row) + width / 2}" y="{middle(row) + 4.5}">{name}</text>'
    yield "</g>"


def box(x: float, y: float, width: float, height: float, kind: str) -> str:
    _, fill, edge = KINDS[kind]
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" '
        f'fill="{fill}" stroke="{edge}" stroke-width="1.2"/>'
    )


def legend(right: int, top: int) -> Iterator[str]:
    x = right - 330
    yield f'<g font-size="13" fill="#27313A" transform="translate({x} {top})">'
    yield '<text y="14" font-size="16" font-weight="bold">The rooms, and which imports which</text>'
    yield '<text y="40">Each room imports only rooms below it.</text>'
    yield '<text y="60">A dot is an import: go up from it to the room that</text>'
    yield '<text y="78">imports, and right to the room that is imported.</text>'
    yield '<text y="108">A room\'s own imports of libraries:</text>'
    for number, (kind, (label, _, _)) in enumerate(KINDS.items()):
        yield box(number * 105, 120, 18, 14, kind)
        yield f'<text x="{number * 105 + 25}" y="132">{label}</text>'
    yield "</g>"


if __name__ == "__main__":
    main()
