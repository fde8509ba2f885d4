"""`python -m trimood --conf-source=…`: `kedro run` for an installed package without the project folder.

Relative paths in the configuration start from the working folder: data/, mlflow.db and mlruns/ are written there.
"""

from kedro.framework.project import configure_project


def main() -> None:
    """Runs the command line."""
    configure_project("trimood")
    from trimood.cli import run

    run(prog_name="python -m trimood")


if __name__ == "__main__":
    main()
