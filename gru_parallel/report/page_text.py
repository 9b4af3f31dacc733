"""Text that plotly shows as it is: plotly takes some of HTML's tags and entities for such."""

from html import escape


def page_text(text: str) -> str:
    """Return what plotly shows as this text, its lines below each other."""
    # Quotes stay: there are no attributes here, and of their entities plotly decodes some alone.
    return escape(text, quote=False).replace("\n", "<br>")
