"""The frame of a page: head, styles, and the policy that forbids loading anything else."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from pfa_flux.present.html import text


@cache
def style(name: str) -> str:
    """A style sheet of the package."""
    return files("pfa_flux.present.report").joinpath(f"{name}.css").read_text(encoding="utf-8")


def policy(styles: str, *, forms: bool = False) -> str:
    """Content-Security-Policy of a page. It allows the page's own styles by hash, and nothing else.

    Args:
        styles: text of the page's style element.
        forms: allow forms, which submit to the page's own origin.
    """
    digest = base64.b64encode(hashlib.sha256(styles.encode()).digest()).decode()
    sent_to = "'self'" if forms else "'none'"
    return f"default-src 'none'; style-src 'sha256-{digest}'; form-action {sent_to}; base-uri 'none'"


def document(title: str, body: str, *, more_styles: str = "", forms: bool = False) -> str:
    """A complete HTML page.

    Args:
        title: title, not yet escaped.
        body: HTML of the body.
        more_styles: name of a further style sheet of the package; empty for none.
        forms: the page has forms.
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
