"""The frame of a page: its head, its styles, and the policy that lets it load nothing else."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from pfa_flux.views import html


def text(value: str) -> str:
    """Escaped text, in which a figure stays with its percent sign."""
    return html.text(value).replace(" %", "\u00a0%")


@cache
def style(name: str) -> str:
    """A style sheet of the package."""
    return files("pfa_flux.views").joinpath(f"{name}.css").read_text(encoding="utf-8")


def policy(styles: str, *, forms: bool = False) -> str:
    """Content-Security-Policy of a page: its own styles by their hash, and nothing else from anywhere.

    Args:
        styles: the text of its style element.
        forms: it has forms, which may be sent to where it comes from.
    """
    digest = base64.b64encode(hashlib.sha256(styles.encode()).digest()).decode()
    sent_to = "'self'" if forms else "'none'"
    return f"default-src 'none'; style-src 'sha256-{digest}'; form-action {sent_to}; base-uri 'none'"


def document(title: str, body: str, *, more_styles: str = "", forms: bool = False) -> str:
    """A whole page in HTML.

    Args:
        title: its title, not yet escaped.
        body: what is in its body, in HTML.
        more_styles: style sheet of the package beside that of the report; empty for none.
        forms: it has forms.
    """
    styles = styles_of(more_styles)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy(styles, forms=forms)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{text(title)}</title>
<style>{styles}</style>
</head>
<body>
{body}
</body>
</html>
"""


def styles_of(more: str = "") -> str:
    """Text of a page's style element."""
    return style("report") + (style(more) if more else "")
