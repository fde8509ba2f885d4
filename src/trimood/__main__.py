"""`python -m trimood --conf-source=…`: what `kedro run` does, where the package is installed without its project.

Relative paths of the configuration start from the working folder: data/, mlflow.db and mlruns/ are made there.
"""

from kedro.framework.project import configure_project


def main() -> None:
    """Runs the command line."""
    configure_project("trimood")
    from trimood.cli import run

    run(prog_name="python -m trimood")


if __name__ == "__main__":
    main()
