"""Damage to checkpoints."""

from pathlib import Path


def spoil(path: Path) -> None:
    """Flip some bits of a file: a single one may be where it changes nothing."""
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 4, len(content) // 2, 100):
        content[place] ^= 1
    path.write_bytes(content)


def cut_off(path: Path) -> None:
    """Leave the beginning of a file."""
    path.write_bytes(path.read_bytes()[:1000])
