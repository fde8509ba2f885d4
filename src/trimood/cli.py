"""The project's commands: Kedro's own, where `kedro run` runs several experiments and seeds."""

import atexit
import copy
import gc
import logging
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from time import monotonic
from typing import Any

import click
import yaml
from click.core import ParameterSource
from fsspec.core import OpenFile
from fsspec.implementations.local import LocalFileSystem
from kedro.framework import project
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.registry import registry as kedro_registry
from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from omegaconf import OmegaConf
from yaml import MappingNode

from trimood.config.checks import SHARED, read_jobs, read_seeds
from trimood.config.conf_files import ConfError, read_node
from trimood.config.experiments import experiment_names, experiment_of
from trimood.options import check_runner, check_selection, read_params, refuse_unless_known, without_deprecated
from trimood.refusals import Command
from trimood.tracking.results import Ending, Given, ending_of_command, last_words

log = logging.getLogger(__name__)

Options = dict[str, Any]
"""Options of `kedro run` by name, or the values of --params."""


def parse_params(_: click.Context, __: click.Parameter, value: Any) -> Any:
    """Reads --params as they are written; those of a file given with --config are read already."""
    if isinstance(value, dict) or not value.strip():
        return value or {}
    from trimood.pipeline_registry import STAGES

    return read_params(
        value, {**SHARED, **{name: kind for stage in STAGES.values() for name, kind in stage.parameters.items()}}
    )


def read_config(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    """Reads the file of --config as Kedro does. Raises UsageError if it is not as it should be."""
    try:
        if value:
            node = read_node(OpenFile(LocalFileSystem(), value))
            if not isinstance(node, MappingNode) or context.info_name not in [key.value for key, _ in node.value]:
                raise ValueError(
                    f"{value}: expected options of the command, as in {context.info_name}: {{pipelines: exp4}}"
                )
        return _kedros["config"].callback(context, option, value)
    except (ValueError, AttributeError, TypeError) as error:
        raise click.UsageError(f"--config: {error}") from None


def end_soon() -> None:
    """Collects what is left in cycles once, and hides all other objects from Python's own search for such at its end.

    It would search 700,000 objects of libraries twice, and destroy them one by one: two seconds after the last line.
    """
    gc.collect()
    gc.freeze()


def run_experiments(**given: Any) -> Any:
    """Runs Kedro's `run` once for each seed in `seeds`, `jobs` at a time. Raises UsageError for a misspelt name."""
    from trimood.pipeline_registry import STAGES, look_for_experiments

    atexit.register(end_soon)  # what is registered first runs last
    options, began = without_deprecated(given), monotonic()
    names = options["pipelines"]
    if not names and click.get_current_context().get_parameter_source("pipelines") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--pipelines= names no pipeline. Leave it out to run all experiments.")
    try:
        if look_for_experiments(options["conf_source"], options["env"]):
            pipelines.configure(f"{project.PACKAGE_NAME}.pipeline_registry")
        pipelines.set_requested(None)
        for name in names:
            if name not in pipelines:  # listing them makes all
                refuse_unless_known(name, pipelines, f"{name}: no such pipeline")
    except ConfError as error:
        raise click.UsageError(str(error)) from None
    for name in names:
        if len(names) > 1 and name in STAGES and STAGES[name].run_separately:
            raise click.UsageError(
                f"{name}: works on the results of finished experiments; run it as a separate command afterwards: "
                f"kedro run --pipelines={name}"
            )
    whole = sum((pipelines[name] for name in names or ["__default__"]), Pipeline([]))
    check_selection(options, whole)
    check_runner(options["runner"])
    try:
        if "jobs" in options["params"]:
            return _run_jobs(options, whole)
        if "seeds" in options["params"]:
            return _run_seeds(options, whole)
        return kedro_run.callback(**options)
    finally:
        _say_results(options, monotonic() - began)


def _say_results(options: Options, seconds: float) -> None:
    """Prints what the command has found below its log, apart from it."""
    if (ending := ending_of_command()) and ending.results:
        has_params = bool(options["params"].keys() - {"seeds", "jobs"})
        given = Given(_program(), options["env"], options["conf_source"], has_params)
        click.echo("\n" + "\n".join(last_words(ending, seconds, given)))


def _program() -> str:
    """Kedro's command: its path if it is not on the PATH, as after `make demo` without the environment."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "kedro" and not which("kedro") else "kedro"


def _run_jobs(options: Options, whole: Pipeline) -> None:
    """Runs the shared stages and all checks in this process, then each experiment and seed in one of its own.

    The last seed has the data root of the command, as with one seed after the other; others have roots beside it.
    """
    from trimood.jobs import Job, own_data_root, run_jobs, trained_by_jobs
    from trimood.learning.device import DeviceError, shared_out
    from trimood.runner import MORE_SEEDS, SEARCH
    from trimood.tracking.hook import CHECKS, SEEN

    params = dict(options["params"])
    try:
        at_once = read_jobs(params.pop("jobs"))
        seeds = read_seeds(params.pop("seeds")) if "seeds" in params else None
        devices = shared_out(at_once)
    except (ValueError, DeviceError) as error:
        raise click.UsageError(str(error)) from None
    experiments = _experiments_in(whole)
    if any(experiment_of(node.namespace, [SEARCH]) for node in whole.nodes):
        params["tune"] = {**params.get("tune", {}), "jobs": at_once}
    elif not experiments:
        raise click.UsageError(
            "jobs: these pipelines contain no experiment, so nothing is trained. Give some: --pipelines=exp3,exp4"
        )
    if seeds:
        _refuse_contradictions(options | {"params": params}, experiments)

    def of_seed(seed: int | None) -> Options:
        return {**options, "params": params if seed is None else _with_seed(params, experiments, seed)}

    last = seeds[-1] if seeds else None
    first = _only(of_seed(last), whole, lambda name, node: name is None or CHECKS in node.tags)
    if first["node_names"]:
        kedro_run.callback(**first)
    meta, models = click.get_current_context().meta, _models_folder(of_seed(last))
    jobs = []
    with trained_by_jobs(models):  # before each job takes the locks of its own
        for seed in seeds or (None,):
            for experiment in experiments:
                chosen = _only(of_seed(seed), whole, partial(_is_of, experiment))
                if not chosen["node_names"]:
                    continue
                name = experiment if seed is None else f"{experiment} seed {seed}"
                root = own_data_root(models.parent, name.replace(" ", "-")) if seed != last else None
                if root:
                    chosen["params"] = {**chosen["params"], "data_root": str(root)}
                seen = {SEEN: meta.get(SEEN, {}), MORE_SEEDS: seed != last}
                jobs.append(Job(name, chosen, seen, root))
        session = partial(_run_session, project.PACKAGE_NAME)
        own = ending_of_command() or Ending()
        if jobs and (errors := run_jobs(jobs, devices, session, own.add)):
            raise errors[0]


def _models_folder(options: Options) -> Path:
    from kedro.framework.session import KedroSession

    with KedroSession.create(
        env=options["env"], conf_source=options["conf_source"], runtime_params=options["params"]
    ) as session:
        context = session.load_context()
        return Path(context.project_path, context.config_loader["catalog"]["models"]["filepath"])


def _is_of(experiment: str, name: str | None, _: Node) -> bool:
    return name == experiment


def _run_session(package: str, options: Options, meta: Options) -> Ending:
    """A session of `kedro run` in a new process; returns what it has finished."""
    atexit.register(end_soon)
    project.configure_project(package)
    from trimood.pipeline_registry import look_for_experiments

    with click.Context(run) as context:
        context.meta.update(meta)
        if look_for_experiments(options["conf_source"], options["env"]):
            pipelines.configure(f"{project.PACKAGE_NAME}.pipeline_registry")
        kedro_run.callback(**options)
        return ending_of_command() or Ending()


def _run_seeds(options: Options, whole: Pipeline) -> None:
    """Runs one session per seed. Only the first runs the shared stages; the others reuse its data.

    An error in an experiment affects only its seed: it is logged, the other seeds run, and the first error is raised
    at the end. An error before any experiment starts is raised at once.
    """
    from trimood.runner import MORE_SEEDS, REACHED

    params = dict(options["params"])
    try:
        seeds = read_seeds(params.pop("seeds"))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    experiments = _experiments_in(whole)
    _refuse_contradictions(options | {"params": params}, experiments)
    errors: list[Exception] = []
    command = click.get_current_context().meta
    for number, seed in enumerate(seeds):
        log.info("seed %d, %d of %d", seed, number + 1, len(seeds))
        command[MORE_SEEDS] = number + 1 < len(seeds)
        of_seed = {**options, "params": _with_seed(params, experiments, seed)}
        if number:
            of_seed = _only(of_seed, whole, lambda name, _: name is not None)
        try:
            kedro_run.callback(**of_seed)
        except Exception as error:
            if not command.get(REACHED):
                raise
            log.error("seed %d: %s", seed, error)
            errors.append(error)
    if errors:
        raise errors[0]


def _refuse_contradictions(options: Options, experiments: list[str]) -> None:
    """Raises UsageError if no experiment is run, or if another option sets a seed or skips existing outputs."""
    if not experiments:
        raise click.UsageError(
            "seeds: these pipelines contain no experiment, so nothing is trained. Give one: --pipelines=exp4"
        )
    for name in ("training", *experiments):
        block = options["params"].get(name)
        training = block if name == "training" else block.get("training") if isinstance(block, dict) else None
        if isinstance(training, dict) and "seed" in training:
            path = "training.seed" if name == "training" else f"{name}.training.seed"
            raise click.UsageError(
                f"{path} and seeds are both given; seeds sets the seed of every run: leave {path} out."
            )
    if options["only_missing_outputs"]:
        raise click.UsageError(
            "--only-missing-outputs and seeds: the files of one seed would count as outputs of the next seed. Give "
            "only one of the two."
        )


def _with_seed(params: Options, experiments: list[str], seed: int) -> Options:
    """Sets the seed of each experiment, which overrides a seed in the experiment's file."""
    seeded = OmegaConf.from_dotlist([f"{name}.training.seed={seed}" for name in experiments])
    return dict(OmegaConf.to_container(OmegaConf.merge(params, seeded)))  # type: ignore[arg-type]  # never a list here


def _experiments_in(whole: Pipeline) -> list[str]:
    names = experiment_names()
    return sorted({name for node in whole.nodes if (name := experiment_of(node.namespace, names))})


def _only(options: Options, whole: Pipeline, is_wanted: Callable[[str | None, Node], bool]) -> Options:
    """Replaces the options that select nodes: of the same nodes, those wanted, by their experiment and themselves."""
    filters = ("tags", "from_nodes", "to_nodes", "node_names", "from_inputs", "to_outputs")
    chosen = whole.filter(**{name: options[name] for name in filters}, node_namespaces=options["namespaces"])
    names = experiment_names()
    nodes = [node.name for node in chosen.nodes if is_wanted(experiment_of(node.namespace, names), node)]
    return {**options, **dict.fromkeys((*filters, "namespaces"), ()), "node_names": nodes}


def try_models(env: str | None, params: Options, port: int) -> None:
    """Serves the web page, with the models, corpus and MLflow store that the catalog of this environment names."""
    atexit.register(end_soon)
    if find_spec("gradio") is None:
        raise click.ClickException("kedro app needs Gradio, which is not installed: pip install 'trimood[app]'")
    from kedro.framework.session import KedroSession

    from trimood.tracking.store import tracking_uri

    with KedroSession.create(env=env, runtime_params=params) as session:
        context = session.load_context()
        catalog, project = context.config_loader["catalog"], Path(context.project_path)
    from trimood.app.server import CannotServe, serve

    trained = catalog["trained_model"]
    try:
        serve(
            models=project / trained["filepath"],
            scores=str(project / catalog["{experiment}.scores"]["filepath"]),
            corpus=project / catalog["corpus"]["filepath"],
            checkpoints=trained["checkpoints"],
            tracking_uri=tracking_uri(trained["tracking_uri"], project),
            port=port,
        )
    except CannotServe as error:
        raise click.ClickException(str(error)) from None


def list_pipelines() -> None:
    """List the names of all pipelines."""
    from trimood.pipeline_registry import register_pipelines

    # Kedro's own command makes every pipeline first, and so imports pandas.
    click.echo(yaml.dump(sorted(register_pipelines())))


def refuse_viz(**_: Any) -> None:
    """Raises ClickException. If Kedro-Viz is installed, its own command takes precedence over this one."""
    raise click.ClickException("kedro viz needs Kedro-Viz, which is not installed: pip install 'trimood[viz]'")


_kedros = {option.name: option for option in kedro_run.params}


def _with_callback(name: str, callback: Callable[..., Any]) -> click.Parameter:
    option = copy.copy(_kedros[name])
    option.callback = callback
    return option


_own = {"params": _with_callback("params", parse_params), "config": _with_callback("config", read_config)}

run = Command(
    "run",
    callback=run_experiments,
    params=[_own.get(name, option) for name, option in _kedros.items()],
    context_settings={**kedro_run.context_settings, "default_map": {"runner": "trimood.runner.ExperimentRunner"}},
    help=kedro_run.help,
)

app = Command(
    "app",
    callback=try_models,
    params=[
        _kedros["env"],
        _own["params"],
        click.Option(["--port"], type=click.IntRange(1, 65535), default=7860, show_default=True),
    ],
    help="Serve a local web page where trained models predict clips and text.",
)

registry = click.Group(
    "registry",
    commands={
        **kedro_registry.commands,
        "list": click.Command("list", callback=list_pipelines, help=list_pipelines.__doc__),
    },
    help=kedro_registry.help,
)

viz = click.Command(
    "viz",
    callback=refuse_viz,
    params=[click.Argument(["arguments"], nargs=-1)],
    context_settings={"ignore_unknown_options": True},
    hidden=True,
)

cli = click.Group("trimood", commands={"run": run, "app": app, "registry": registry, "viz": viz})
