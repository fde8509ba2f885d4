"""What the command line prints when a command fails: one message that says what to do, and no frames."""

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from kedro.framework.cli.utils import KedroCliError
from kedro.io import DatasetError
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from trimood.config.checks import without_passwords
from trimood.config.conf_files import yaml_problem
from trimood.disk import says_disk_full

log = logging.getLogger(__name__)

LONGEST = 4000
"""Maximum number of characters of a message; trimood's own are shorter, those of libraries may contain whole files."""

KEPT = "Prepared clips, finished epochs and finished experiments are kept"

_ELSEWHERE = "or give another folder, such as --params data_root=FOLDER"

_OF_THE_SYSTEM = {
    errno.EACCES: f"permission denied. Make it readable and writable for this user, {_ELSEWHERE}",
    errno.EPERM: f"permission denied. Make it readable and writable for this user, {_ELSEWHERE}",
    errno.EROFS: f"this disk is read-only. Make it writable, {_ELSEWHERE}",
    errno.ENAMETOOLONG: "this name is too long for the file system. Give a shorter one",
    errno.ENOENT: "it does not exist yet. First run the pipeline that writes it, such as kedro run --pipelines=exp3",
    errno.ENOTDIR: "a part of this path is a file, not a folder. Check the path",
    errno.EISDIR: "this is a folder, but a file is expected. Check the path",
    errno.EMFILE: "too many open files. Raise the limit (ulimit -n 4096), or use --params data.clips.workers=1",
    errno.ENFILE: "too many open files. Close other programs, or use --params data.clips.workers=1",
    errno.EIO: "the disk reports an error. Check the disk or the network folder, then run again",
    errno.ESTALE: "the network folder was lost. Mount it again, then run again",
}

_OF_MEMORY = re.compile("out of memory|can(no|')t allocate memory|bad_alloc", re.IGNORECASE)
_OF_THE_NETWORK = ("requests", "urllib3", "httpx", "httpcore", "aiohttp", "huggingface_hub", "botocore")


_REPETITIONS = re.compile(
    r"Node %s failed with error|There are \d+ nodes that have not run|No nodes ran\. Repeat|Using synchronous mode"
    r"|Completed node: |Completed %d out of %d"
)


class Command(click.Command):
    """A command that prints errors with a known remedy as one message; other errors keep their traceback."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Parses the options."""
        with one_message():
            return super().make_context(*args, **options)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raises UsageError for an option that is given twice, of which click would silently drop the first."""
        _, _, given = self.make_parser(ctx).parse_args(list(args))
        for option in given:
            if isinstance(option, click.Option) and not (option.multiple or option.is_flag) and given.count(option) > 1:
                raise click.UsageError(
                    f"{max(option.opts, key=len)} is given twice. Give it once, with all values: --pipelines=exp3,exp4 "
                    "--params training.seed=1,training.num_train_epochs=2"
                )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; the log leaves out what the message says, and advice that does not hold here."""
        handlers = list(logging.getLogger().handlers)
        for handler in handlers:
            handler.addFilter(_is_no_repetition)
        try:
            with one_message():
                return super().invoke(ctx)
        finally:
            for handler in handlers:
                handler.removeFilter(_is_no_repetition)


def _is_no_repetition(record: logging.LogRecord) -> bool:
    """False for Kedro's log of an error that is raised, for its advice to go on with --from-nodes, and for its counts.

    It counts the nodes of each experiment anew, after their training and after their evaluation.
    """
    return not (isinstance(record.msg, str) and _REPETITIONS.match(record.msg))


class Stopped(click.ClickException):
    """The user has stopped the command with Ctrl-C."""

    exit_code = 130  # as a shell reports SIGINT


@contextmanager
def one_message() -> Iterator[None]:
    """Replaces an error with a known remedy by a ClickException; Ctrl-C by Stopped."""
    try:
        yield
    except KedroCliError as error:  # it would print a part of its traceback
        raise click.UsageError(shortened(str(error))) from None
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except KeyboardInterrupt:
        raise Stopped(f"Stopped by Ctrl-C. {KEPT}. Run the same command again to go on from there.") from None
    except Exception as error:
        message = in_words(error)
        if message is None:
            raise
        log.debug("the error with its traceback", exc_info=error)
        raise click.ClickException(shortened(message)) from error


def in_words(error: Exception) -> str | None:
    """The message for an error of trimood, of Kedro, of the system or of the configuration; None for any other."""
    causes = list(_causes(error))
    for cause in causes:
        if type(cause).__module__.startswith("trimood."):
            return str(cause)
    if says_disk_full(error):
        return f"{error} The disk is full: free some space and run again. {KEPT}."
    for cause in causes:
        if message := _of_a_library(cause):
            return message
    if isinstance(error, DatasetError) or type(error).__module__.startswith("kedro."):
        return str(error)
    return None


def _of_a_library(cause: BaseException) -> str | None:
    first = next(iter(str(cause).splitlines()), "")
    message = None
    if isinstance(cause, MemoryError) or (isinstance(cause, RuntimeError) and _OF_MEMORY.search(str(cause))):
        message = (
            f"out of memory{first and f': {first}'}. Use smaller batches, such as --params training.micro_batch=1, "
            f"training.per_device_eval_batch_size=1, or data.clips.workers=1. {KEPT}: run the same command again."
        )
    elif isinstance(cause, OSError) and cause.errno in _OF_THE_SYSTEM and cause.filename:
        message = f"{cause.filename}: {_OF_THE_SYSTEM[cause.errno]}."
    elif type(cause).__module__.split(".")[0] in _OF_THE_NETWORK:
        message = f"the network failed: {first}. Check the connection, then run the same command again. {KEPT}."
    elif type(cause).__module__.startswith("mlflow."):
        message = f"MLflow reports: {first} Check its server or its file (MLFLOW_TRACKING_URI), then run again. {KEPT}."
    elif isinstance(cause, ImportError) and first.startswith("Install "):  # fsspec and pandas name the package
        message = f"a package is missing: {first}"
    elif isinstance(cause, OmegaConfBaseException):
        where = f"{cause.full_key}: " if getattr(cause, "full_key", None) else ""
        message = f"the configuration cannot be resolved: {where}{first}. Correct it in conf/ or in --params."
    elif isinstance(cause, YAMLError):
        message = f"the configuration{yaml_problem(cause)}"
    return message


def shortened(message: str) -> str:
    """The message without passwords; of one that is longer than LONGEST, the beginning and the end."""
    message = without_passwords(message)
    if len(message) <= LONGEST:
        return message
    left_out = len(message) - LONGEST
    return f"{message[: LONGEST - 1000]}\n… {left_out:,} characters are left out here …\n{message[-1000:]}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
