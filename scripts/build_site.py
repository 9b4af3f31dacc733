"""Build the documentation as a site, strictly: python -m scripts.build_site [FOLDER]."""

import sys
from pathlib import Path

from sphinx.cmd.build import build_main

from scripts.draw_rooms import ROOT

SITE = ROOT / "build" / "site"


def main() -> None:
    folder = Path(*sys.argv[1:]) if sys.argv[1:] else SITE
    # Anew, because pages that have not changed would not be warned of again.
    strict = ["--fail-on-warning", "--keep-going", "--fresh-env", "--quiet"]
    status = build_main([*strict, "--conf-dir", str(ROOT / "docs/site"), str(ROOT), str(folder)])
    if status == 0:
        print(folder / "index.html")
    sys.exit(status)


if __name__ == "__main__":
    main()
