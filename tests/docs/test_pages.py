"""Links and commands of README, CONTRIBUTING and the documentation work; README stays short."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from kedro.framework.cli.cli import KedroCLI
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from markdown.extensions.toc import slugify
from markdown_it import MarkdownIt
from markdown_it.token import Token

from trimood.config.checks import read_jobs, read_seeds
from trimood.config.experiment_settings import ExperimentParams

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
GENERATED = DOCS / "reference"  # written by scripts/write_api_pages.py
PAGES = [
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((PROJECT / "conf").glob("*.md")),
    *sorted(path for path in DOCS.rglob("*.md") if GENERATED not in path.parents),
]


def names_of(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(PROJECT)) for path in paths]


@cache
def tokens(page: Path) -> list[Token]:
    """All tokens of a page, those within paragraphs and tables too."""
    found = MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
    return [token for outer in found for token in (outer, *(outer.children or []))]


def links(page: Path) -> Iterator[str]:
    for token in tokens(page):
        for attribute in ("href", "src"):
            if attribute in token.attrs:
                yield str(token.attrs[attribute])


@cache
def anchors(page: Path) -> set[str]:
    """Anchors that a heading has both on the documentation site and in a repository's own view of the file."""
    found = set()
    headings = tokens(page)
    for opening, content in pairwise(headings):
        if opening.type == "heading_open":
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", content.content)
            in_repository = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            if in_repository == slugify(words, "-"):
                found.add(in_repository)
    return found


def command_lines(page: Path) -> Iterator[str]:
    """Every `kedro …` and `make …` of a page: lines of code blocks, comments in YAML, code within sentences.

    Within sentences, `--params …` and `data.clips.workers=2` count as such lines too.
    """
    for token in tokens(page):
        if token.type == "code_inline":
            line = re.sub(r"^([a-z]\w*(\.\w+)+=\S+)$", r"--params \1", token.content)
            lines = [re.sub(r"^(?=--params )", "kedro run ", line)]
        elif token.type in ("fence", "code_block"):
            lines = [line.strip().removeprefix("# ") for line in token.content.replace("\\\n", "").splitlines()]
        else:
            continue
        yield from (line for line in lines if re.match(r"(kedro|make)( |$)", line))


def own_experiments(page: Path) -> dict[str, Any]:
    """Experiments that a page shows as YAML, for its reader to create."""
    blocks = [yaml.safe_load(token.content) for token in tokens(page) if token.type == "fence" and token.info == "yaml"]
    return {name: value for block in blocks for name, value in block.items() if "modalities" in value}


def check_make(words: list[str]) -> None:
    """Raises UsageError for a target or a variable that the Makefile does not have."""
    text = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE))
    for word in words:
        name, is_variable, _ = word.partition("=")
        if is_variable and not re.search(rf"\$\([^()]*\b{name}\)|\b{name}\)", text):
            raise click.UsageError(f"the Makefile uses no variable {name}")
        if not is_variable and name not in targets:
            raise click.UsageError(f"the Makefile has no target {name}; it has: {', '.join(sorted(targets))}")


@pytest.fixture(scope="module")
def kedro() -> KedroCLI:
    bootstrap_project(PROJECT)
    return KedroCLI(PROJECT)


def check_kedro(kedro: KedroCLI, words: list[str], own: Iterable[str]) -> None:
    """Raises UsageError for a command, option, pipeline, environment or parameter that `kedro` would refuse."""
    command: Any = kedro
    while words and isinstance(command, click.Group):
        name, *words = words
        if name in ("--help", "--version"):
            return
        command = command.get_command(click.Context(command), name)
        if command is None:
            raise click.UsageError(f"kedro has no command {name}")
    if isinstance(command, click.Group):
        return
    given = command.make_context(command.name, words).params
    wanted = given.get("pipelines") or []
    pipelines.set_requested(None)
    of_env = (PROJECT / "conf" / str(given.get("env")) / "experiments").glob("*.yml")
    if unknown := set(wanted) - set(pipelines) - set(own) - {path.stem for path in of_env}:
        raise click.UsageError(f"no such pipeline: {', '.join(unknown)}")
    params = dict(given.get("params") or {})
    if "jobs" in params:
        read_jobs(params.pop("jobs"))
    if "seeds" in params:
        read_seeds(params.pop("seeds"))
    if params or given.get("env"):
        check_parameters(given.get("env"), json.dumps(params))


@cache
def check_parameters(env: str | None, params: str) -> None:
    """What the hooks of a session check before the first node, once for each environment and JSON of parameters."""
    with KedroSession.create(PROJECT, env=env, runtime_params=json.loads(params)) as session:
        session.load_context()


def check(kedro: KedroCLI, line: str, own: Iterable[str]) -> None:
    program, *words = shlex.split(line, comments=True)
    if program == "make":
        check_make(words)
    else:
        check_kedro(kedro, words, own)


def test_readme_has_at_most_130_lines() -> None:
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


@pytest.mark.parametrize("page", PAGES, ids=names_of(PAGES))
def test_every_relative_link_and_anchor_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            assert link.startswith(("https://", "http://127.0.0.1")), f"{page}: {link}"
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if target.parent == GENERATED:
            assert target.stem in ("index", "modules") or (PROJECT / "src" / "trimood" / target.stem).is_dir(), link
            continue
        assert target.exists(), f"{page}: {link}: no such file"
        if page.is_relative_to(DOCS):
            assert target.is_relative_to(DOCS), f"{page}: {link} leaves docs/, so it has no place on the site"
        assert not anchor or anchor in anchors(target), f"{page}: {link}: no such heading; {sorted(anchors(target))}"


def test_links_and_anchors_are_found() -> None:
    found = [link for page in PAGES for link in links(page)]
    assert len([link for link in found if not link.startswith("http")]) > 50
    assert any("#" in link for link in found)


@pytest.mark.parametrize("page", PAGES, ids=names_of(PAGES))
def test_every_command_of_a_page_is_one_that_the_programs_take(page: Path, kedro: KedroCLI) -> None:
    for line in command_lines(page):
        try:
            check(kedro, line, own_experiments(page))
        except (click.ClickException, ValueError) as error:
            pytest.fail(f"{page.relative_to(PROJECT)}: {line}\n{getattr(error, 'message', error)}")


def test_an_experiment_that_a_page_shows_is_accepted() -> None:
    shown = [(page, name, value) for page in PAGES for name, value in own_experiments(page).items()]
    assert shown
    for page, name, value in shown:
        assert ExperimentParams.model_validate(value), f"{page}: {name}"


def test_commands_are_found() -> None:
    lines = [line for page in PAGES for line in command_lines(page)]
    assert sum(line.startswith("kedro run") and "--params" in line for line in lines) > 15
    assert {"make demo", "make test"} <= {line.partition("#")[0].strip() for line in lines}


@pytest.mark.parametrize(
    "line",
    [
        "make dmo",
        "make app PROT=7861",
        "kedro rnu",
        "kedro run --pipelnes=exp4",
        "kedro run --pipelines=exp44",
        "kedro run --pipelines=exp4 --params trainin.seed=1",
        "kedro run --pipelines=exp4 --params training.sed=1",
        "kedro run --pipelines=exp4 --params data.clips.on_bad_clip=dorp",
        "kedro run --pipelines=exp4 --params seeds=[1,1]",
        "kedro run --pipelines=exp4 --env=efc",
        "kedro app --port=no",
    ],
)
def test_a_misspelt_command_is_noticed(line: str, kedro: KedroCLI) -> None:
    with pytest.raises((click.UsageError, ValueError)):
        check(kedro, line, set())


def test_continuous_integration_and_hooks_call_targets_of_the_makefile() -> None:
    workflow = yaml.safe_load((PROJECT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    hooks = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    lines = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    lines += [hook["entry"] for repository in hooks["repos"] for hook in repository["hooks"]]
    called = [line for line in lines if line.startswith("make ")]
    assert {"make lint", "make test", "make test-quick"} <= set(called)
    for line in called:
        check_make(shlex.split(line)[1:])
    assert all(repository["repo"] == "local" for repository in hooks["repos"])


@pytest.mark.slow
def test_the_site_is_built_strictly_and_asks_nothing_of_other_hosts(tmp_path: Path) -> None:
    for name in ("docs", "src", "scripts"):
        ignored = shutil.ignore_patterns("__pycache__", GENERATED.name)
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=ignored)
    shutil.copy(PROJECT / "mkdocs.yml", tmp_path)
    for command in (["scripts/write_api_pages.py"], ["-m", "zensical", "build", "--strict"]):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    built = sorted((tmp_path / "site").rglob("*.html"))
    assert len(built) > 40
    for path in built:
        asked = re.findall(
            r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"?(https?:[^\" >]+)", path.read_text("utf-8")
        )
        assert not asked, f"{path}: {asked}"
    for room in (PROJECT / "src" / "trimood").glob("*/__init__.py"):
        assert (tmp_path / "site" / "reference" / room.parent.name / "index.html").is_file()
