"""Writes the API reference: a page for each package of `src/trimood`.

python scripts/write_api_pages.py
"""

import ast
import shutil
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "src" / "trimood"
PAGES = PROJECT / "docs" / "reference"


def described_modules(folder: Path, pattern: str) -> list[str]:
    """Dotted names of the modules below `folder`, without packages that only have a docstring."""
    names = []
    for path in sorted(folder.glob(pattern)):
        if path.name == "__init__.py" and len(ast.parse(path.read_text(encoding="utf-8")).body) <= 1:
            continue
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        names.append(".".join(part for part in parts if part != "__init__"))
    return names


def first_sentence(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def write_page(name: str, title: str, introduction: str, modules: list[str]) -> None:
    """A page with a section for each module."""
    sections = [f"::: {module}\n    options: {{toc_label: {module.removeprefix('trimood.')}}}\n" for module in modules]
    (PAGES / f"{name}.md").write_text("\n".join([f"# {title}\n", f"{introduction}\n", *sections]), encoding="utf-8")


shutil.rmtree(PAGES, ignore_errors=True)
PAGES.mkdir()
packages = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
rows = []
for package in packages:
    introduction = first_sentence(package / "__init__.py")
    write_page(package.name, f"trimood.{package.name}", introduction, described_modules(package, "**/*.py"))
    rows.append(f"| [`{package.name}`]({package.name}.md) | {introduction} |")
alone = described_modules(PACKAGE, "*.py")
write_page("modules", "Modules outside packages", "Kedro's shell and what every package uses.", alone)
rows.append(
    f"| [modules outside packages](modules.md) | {', '.join(name.removeprefix('trimood.') for name in alone)} |"
)
(PAGES / "index.md").write_text(
    "# API reference\n\nEvery public class and function, from the docstrings. "
    "[Architecture](../architecture.md) explains how the packages fit together.\n\n| package | contents |\n|---|---|\n"
    + "\n".join(rows)
    + "\n",
    encoding="utf-8",
)
links = [f"* [{package.name}]({package.name}.md)" for package in packages]
summary = ["* [Overview](index.md)", *links, "* [modules outside packages](modules.md)"]
(PAGES / "SUMMARY.md").write_text("\n".join(summary) + "\n", encoding="utf-8")
print(f"{PAGES.relative_to(PROJECT)}: {len(packages) + 2} pages")  # as `make docs` shows
