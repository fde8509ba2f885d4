"""Which experiments there are: the YAML files of one folder, nothing else."""

from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[2] / "conf" / "base" / "parameters" / "experiments"


def experiment_names(folder: Path = FOLDER) -> list[str]:
    """Names of the experiments, sorted; a file whose only top key is not its own name raises ValueError."""
    names = []
    for path in sorted(folder.glob("*.yml")):
        keys = list(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        if keys != [path.stem]:
            raise ValueError(
                f"{path}: the top keys are {keys}; allowed is exactly one, {path.stem!r}, "
                "as an experiment's file, its top key and its pipeline bear one name. Rename the key or the file."
            )
        names.append(path.stem)
    return names
