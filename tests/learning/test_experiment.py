"""What decides whether an interrupted training is gone on with."""

from support.learning_examples import example_table, tiny_plan
from support.made_checkpoints import TINY_VIDEO, made_checkpoint
from trimood.learning.experiment import training_fingerprint


def test_a_training_is_another_one_if_its_examples_lack_other_things(tmp_path) -> None:
    video = str(made_checkpoint(tmp_path / "video", TINY_VIDEO))
    plan = tiny_plan({"video": video, "audio": ""})
    silent = example_table(4)
    table = silent.assign(has_video=True, has_audio=True)
    gap = table.assign(has_audio=[True, False, True, True])
    names = {training_fingerprint(plan, examples, table) for examples in (silent, table, gap)}
    assert len(names) == 3
    assert training_fingerprint(plan, gap.copy(), table) in names
