"""A report as one HTML file: no script, nothing from elsewhere, light and dark."""

import base64
import html
from pathlib import Path

from markdown_it import MarkdownIt

from backend.analysis.report.blocks import Block, Document, Drawing

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d9dee4;
  --paper: #ffffff; --band: #f6f8fa; --mark: #0969da; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e7ec; --soft: #9aa4af; --line: #333a42;
  --paper: #14171b; --band: #1c2025; --mark: #6cb0ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .7rem; padding-bottom: .3rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .5rem; color: var(--soft); }
p, li { max-width: 48rem; overflow-wrap: anywhere; }
li { margin: .25rem 0; }
code { font: .86em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  background: var(--band); padding: .1em .35em; border-radius: 4px; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: .8rem 0 1.2rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .36rem .8rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
th { color: var(--soft); font-weight: 600; }
tbody tr:hover { background: var(--band); }
figure { margin: 1rem 0 1.6rem; }
figure svg, figure img { max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .88rem; }
@media print { main { max-width: none; padding: 0; } h2 { break-after: avoid; }
  tr, figure { break-inside: avoid; } .wide { overflow: visible; } }
"""


def page(document: Document) -> str:
    """The document as HTML. Raises OSError if a photo cannot be read."""
    body = "\n".join(_html(block) for block in document.blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(document.title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    if isinstance(block, str):
        return _rendered(block)
    about = html.escape(block.about)
    caption = f"<figcaption>{about}</figcaption>"
    if isinstance(block, Drawing):
        return f"<h2>{html.escape(block.title)}</h2>\n<figure>{block.svg}{caption}</figure>"
    return f"<figure>{_embedded(block.path, about)}{caption}</figure>"


def _rendered(markdown: str) -> str:
    """Tables and text; HTML, links and images are shown as they were typed."""
    parser = MarkdownIt("commonmark", {"html": False})
    parser.enable("table").disable(["link", "image", "autolink", "reference"])
    parser.disable(["html_inline", "html_block", "code", "lheading"])
    text = str(parser.render(markdown))
    text = text.replace("<thead>\n<tr>\n<th></th>\n<th></th>\n</tr>\n</thead>\n", "")
    return text.replace("<table>", '<div class="wide"><table>').replace(
        "</table>", "</table></div>"
    )


def _embedded(path: Path, about: str) -> str:
    kind = "png" if path.suffix == ".png" else "jpeg"
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{about}" src="data:image/{kind};base64,{data}">'
