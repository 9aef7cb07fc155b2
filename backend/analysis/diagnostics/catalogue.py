"""The catalogue's pages, one per rule, made from the rules themselves.

``python -m backend.analysis.diagnostics.catalogue`` writes them anew; a test tells if they are
stale.
"""

from pathlib import Path

from backend.analysis.diagnostics.rule import Rule
from backend.analysis.diagnostics.rules import RULES
from backend.analysis.text import sentence

FOLDER = Path(__file__).with_name("catalogue")
INDEX = "README.md"
_MADE = "<!-- made by `python -m backend.analysis.diagnostics.catalogue`; do not edit -->"


def pages() -> dict[str, str]:
    """File name to text, the index among them."""
    return {INDEX: _index(), **{_file(rule): page(rule) for rule in RULES}}


def page(rule: Rule) -> str:
    """The page of one rule."""
    return (
        f"{_MADE}\n\n# {rule.id} {rule.title}\n\n"
        f"**Fires when.** {sentence(rule.condition)}\n\n"
        f"**Threshold.** {sentence(rule.threshold)}\n\n"
        f"**Needs.** {sentence(rule.needs)} Without it the rule is not evaluated, which is never "
        "taken for clear.\n\n"
        f"**Speaks.** {_patience(rule)}\n\n"
        f"**Explains.** {_explains(rule)}\n\n"
        f"**Source.** {sentence(rule.source)}\n\n"
        f"**Example.** {sentence(rule.example)}\n"
    )


def write(folder: Path = FOLDER) -> None:
    """Write every page; what belongs to no rule is removed. Raises OSError."""
    folder.mkdir(exist_ok=True)
    made = pages()
    for stale in {path.name for path in folder.glob("*.md")} - made.keys():
        (folder / stale).unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")


def _index() -> str:
    rows = "\n".join(f"| [{r.id}]({_file(r)}) | {r.title} | {_cell(r.condition)} |" for r in RULES)
    return f"{_MADE}\n\n# Catalogue\n\n| rule | what | fires when |\n| --- | --- | --- |\n{rows}\n"


def _cell(text: str) -> str:
    return sentence(text).replace("|", r"\|")


def _file(rule: Rule) -> str:
    return f"{rule.id.lower()}.md"


def _patience(rule: Rule) -> str:
    if rule.id.startswith("D"):
        return "Before the first step, of the data alone."
    if rule.confirm == 1:
        return "At once, when the condition holds."
    return (
        f"After the warm-up, when {rule.confirm} evaluations in a row agree; the same to clear "
        "again."
    )


def _explains(rule: Rule) -> str:
    if not rule.explains:
        return "No other rule."
    return (
        f"As an error it silences {', '.join(sorted(rule.explains))}: they are listed under *also "
        "seen*."
    )


if __name__ == "__main__":
    write()
