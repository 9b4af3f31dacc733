"""The documentation as a site: `make docs` builds it, without a network, into build/site.

Its root is that of the checkout, so that a link that leads somewhere there does so on the site.
"""

from gru_parallel import __version__

project = "gru_parallel"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

root_doc = "docs/site/index"
include_patterns = ["*.md", "docs/**.md", "docs/site/*.rst", "benchmarks/*.md", "findings/*.md"]
exclude_patterns = [".venv", "build", "outputs", "docs/package.md"]

html_theme = "furo"
html_title = "gru_parallel"
# The address of a folder leads to its first page.
html_extra_path = ["redirect"]
html_copy_source = False
html_show_copyright = False

# Anchors as GitHub makes them.
myst_heading_anchors = 4

# Docstrings write code as Markdown does.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
