"""What a command that fails prints: one message with what to do, no frames, and a status other than 0."""

import errno
import logging
from collections.abc import Callable

import click
import pytest
import requests
import yaml
from click.testing import CliRunner, Result
from kedro.framework.cli.utils import KedroCliError
from kedro.io import DatasetError
from kedro.io.core import DatasetNotFoundError
from mlflow.exceptions import MlflowException
from omegaconf import OmegaConf

from trimood.datasets import RawDataError
from trimood.refusals import LONGEST, Command


def raising(error: BaseException) -> Result:
    """The result of a command that raises the error."""

    def fail() -> None:
        raise error

    return CliRunner().invoke(Command("run", callback=fail), [])


def of(function: Callable[[], object]) -> BaseException:
    """The error that a library raises."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - any error
        function()
    return raised.value


def wrapped(cause: Exception) -> DatasetError:
    """The cause as Kedro hands on an error of a dataset."""
    try:
        raise DatasetError("Failed while loading data from dataset kedro_datasets.pandas.ParquetDataset(…)") from cause
    except DatasetError as error:
        return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RawDataError("corpus: no such folder"), "Error: corpus: no such folder\n"),
        (wrapped(RawDataError("corpus: no such folder")), "Error: corpus: no such folder\n"),
        (wrapped(PermissionError(errno.EACCES, "Permission denied", "/a/b.csv")), "/a/b.csv: permission denied. Make"),
        (OSError(errno.EROFS, "Read-only file system", "/a/b"), "/a/b: this disk is read-only. Make it writable, or"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "/a/x"), "/a/x: this name is too long for the file system."),
        (OSError(errno.EMFILE, "Too many open files", "/a"), "too many open files. Raise the limit (ulimit -n 4096)"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/a/b"), "/a/b: a part of this path is a file"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/a"), "/a: this is a folder, but a file is expected"),
        (wrapped(FileNotFoundError(errno.ENOENT, "No such file", "/a/c.csv")), "/a/c.csv: it does not exist yet."),
        (OSError(errno.EIO, "Input/output error", "/a"), "/a: the disk reports an error"),
        (OSError(errno.ENOSPC, "No space left on device", "/a"), "free some space and run again"),
        (requests.ConnectionError("Max retries exceeded"), "the network failed: Max retries exceeded. Check the"),
        (MlflowException("API request to http://me:se@cret@h/api failed\nmore"), "MLflow reports: API request to http://h/api"),
        (MemoryError(), "out of memory. Use smaller batches"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "training.micro_batch=1"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "data.clips.workers=1"),
        (ImportError("Install s3fs to access S3"), "a package is missing: Install s3fs"),
        (of(lambda: yaml.safe_load("a: [1")), "the configuration, line 1: not valid YAML: expected ',' or ']'"),
        (of(lambda: OmegaConf.create({"a": "${nosuch:x}"}).a), "cannot be resolved: a: Unsupported interpolation type"),
        (of(lambda: OmegaConf.create({"a": "${home:~}"}).a), "cannot be resolved: a: token recognition error at: '~'"),
        (of(lambda: OmegaConf.create({"a": "${b}"}).a), "cannot be resolved: a: Interpolation key 'b' not found"),
        (DatasetNotFoundError("'load_versions' keys [x] are not found in the catalog."), "keys [x] are not found"),
        (KedroCliError("Expected the form"), "Error: Expected the form\n"),
    ],
)  # fmt: skip
def test_an_error_with_a_remedy_is_one_message_without_frames(error: BaseException, words: str) -> None:
    done = raising(error)
    assert words in done.output
    assert done.exit_code in (1, 2)
    assert done.output.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in done.output
    assert "full_key" not in done.output


def test_an_error_without_a_remedy_keeps_its_traceback() -> None:
    for error in (ValueError("a bug"), KeyError("a bug"), OSError("no number"), RuntimeError("shapes differ")):
        assert raising(error).exception is error


def test_ctrl_c_says_what_is_kept_and_how_to_go_on() -> None:
    done = raising(KeyboardInterrupt())
    assert done.exit_code == 130
    assert "finished epochs and finished experiments are kept. Run the same command again" in done.output
    assert "Aborted" not in done.output


def test_a_message_that_contains_a_whole_file_is_shortened_to_its_beginning_and_its_end() -> None:
    done = raising(RawDataError("a.json: " + 13_000 * "x" + " Write it again."))
    assert len(done.output) < LONGEST + 100
    assert done.output.startswith("Error: a.json: xxx")
    assert "9,024 characters are left out here" in done.output
    assert done.output.endswith("Write it again.\n")


def test_options_are_parsed_under_the_same_rules() -> None:
    def refuse(_: object, __: object, ___: object) -> None:
        raise OSError(errno.EACCES, "Permission denied", "/a/b")

    command = Command("run", params=[click.Option(["--a"], callback=refuse)])
    assert "/a/b: permission denied" in CliRunner().invoke(command, ["--a=1"]).output


@pytest.mark.parametrize("twice", [["--a=1", "--a=2"], ["--a", "1", "-a", "1"]])
def test_an_option_that_is_given_twice_is_refused(twice: list[str]) -> None:
    options = [
        click.Option(["-a", "--a"]),
        click.Option(["--many"], multiple=True),
        click.Option(["--yes"], is_flag=True),
    ]
    command = Command("run", params=[*options], callback=lambda **given: click.echo(str(given)))
    done = CliRunner().invoke(command, twice)
    assert done.exit_code == 2
    assert "--a is given twice. Give it once, with all values" in done.output
    often = CliRunner().invoke(command, ["--a=1", "--many=1", "--many=2", "--yes", "--yes"])
    assert often.output == "{'a': '1', 'many': ('1', '2'), 'yes': True}\n"


def test_the_log_repeats_no_error_and_gives_no_advice_that_does_not_hold(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("kedro.test")
    said = ("Node %s failed with error: \n%s", "There are 4 nodes that have not run.\nYou can resume", "exp4 failed")

    def fail() -> None:
        log.error(said[0], "train", "words")
        log.warning(said[1])
        log.error(said[2])

    logging.getLogger().addHandler(caplog.handler)
    CliRunner().invoke(Command("run", callback=fail), [])
    assert [record.getMessage() for record in caplog.records] == ["exp4 failed"]
    log.warning(said[1])
    assert len(caplog.records) == 2
