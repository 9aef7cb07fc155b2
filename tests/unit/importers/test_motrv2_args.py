"""The arguments that MOTRv2 was started with, as a config of ours (specs/motrv2.md, 1.8, 8.11)."""

import json
from pathlib import Path

import pytest
import yaml

from backend.config.compose import apply_overrides, validate
from backend.core.errors import ConfigError, DataError
from backend.importers.motrv2_args import VOLLEYBALL, Imported, import_arguments
from backend.trainers.motrv2.spec import Motrv2Config

BRIEF = """\
--meta_arch motr
--dataset_file e2e_volleyball        ← WICHTIG: e2e_volleyball, nicht e2e_dance!
--epoch 10
--with_box_refine
--lr_drop 8
--lr 1e-5
--lr_backbone 1e-6
--pretrained ./weights/motrv2_dancetrack.pth
--batch_size 1
--det_db det_db_volleyball_full_dfine.json
--data_txt_path_train ./datasets/data_path/volleyball_full_train.txt
--output_dir outputs/finetune_volleyball_moderate
--exp_name volleyball_moderate_finetune
"""
SCRIPT = """\
#!/bin/bash
#SBATCH --gres=gpu:1
export WORLD_SIZE=1
cd {folder}
python tools/fine_tuning/finetune_for_dfine.py \\
    $(cat configs/volleyball_full_finetune.args) \\
    --train_strategy moderate \\
    --resume ./weights/motrv2_dancetrack.pth 2>&1 | tee log.txt

echo "done"
"""


@pytest.fixture
def motrv2(tmp_path: Path) -> Path:
    """MOTRv2's folder as the brief has it, with one sequence of two frames."""
    home = tmp_path / "project" / "MOTRv2"
    for folder in ("configs", "weights", "datasets/data_path"):
        (home / folder).mkdir(parents=True)
    (home / "configs" / "volleyball_full_finetune.args").write_text(BRIEF)
    (home / "weights" / "motrv2_dancetrack.pth").touch()
    listed = "".join(f"volleyball_full/train/seq1/img1/{n:06}.jpg\n" for n in (1, 2))
    (home / "datasets" / "data_path" / "volleyball_full_train.txt").write_text(listed)
    data = home / "data" / "Dataset" / "mot"
    (data / "volleyball_full" / "train" / "seq1" / "gt").mkdir(parents=True)
    rows = "".join(f"1,{n},{n},1,5,5,1,{n},1\n" for n in range(1, 9))
    (data / "volleyball_full" / "train" / "seq1" / "gt" / "gt.txt").write_text(rows)
    (data / "det_db_volleyball_full_dfine.json").write_text("{}")
    return home


def config_of(made: Imported) -> Motrv2Config:
    return validate(Motrv2Config, apply_overrides({}, made.values), "test")


def taken(made: Imported) -> dict[str, object]:
    return {one.key: one.value for one in made.taken}


def left(made: Imported) -> dict[str, str]:
    return {one.argument.split()[0]: one.reason for one in made.left}


def written(folder: Path, text: str) -> Path:
    path = folder / "some.args"
    path.write_text(text)
    return path


def test_the_briefs_file_with_its_script(motrv2: Path) -> None:
    script = motrv2.parent / "run.slurm"
    script.write_text(SCRIPT.format(folder=motrv2))
    made = import_arguments(script)
    config = config_of(made)
    data = motrv2 / "data" / "Dataset" / "mot"
    assert config.data == data / "volleyball_full"
    assert config.det_db.path == data / "det_db_volleyball_full_dfine.json"
    assert config.model.pretrained == motrv2 / "weights" / "motrv2_dancetrack.pth"
    assert config.classes == VOLLEYBALL
    assert (config.epochs, config.freeze.strategy) == (10, "moderate")
    assert config.runner.optimizer.lr == {"all": 1e-5, "backbone": 1e-6}
    assert config.runner.schedule.milestones == (8,)
    assert config.name == "volleyball_moderate_finetune"
    assert "the weights of --pretrained again" in left(made)["--resume"]
    assert made.warnings == []


def test_what_the_brief_leaves_open_has_the_values_of_motrv2s_config(motrv2: Path) -> None:
    made = import_arguments(motrv2 / "configs" / "volleyball_full_finetune.args")
    opened = {one.argument: (one.theirs, one.value) for one in made.opened}
    assert opened["--num_queries"] == ("300", 10)
    assert opened["--sampler_lengths"] == ("none", [5])
    assert opened["--sample_interval"] == ("1", 10)
    assert opened["--query_interaction_layer"] == ("QIM", "QIMv2")
    assert opened["--sample_mode"] == ("fixed_interval", "random_interval")
    assert opened["--dropout"] == ("0.1", 0.0)
    assert opened["--merger_dropout"] == ("0.1", 0.0)
    assert opened["--query_denoise"] == ("0", 0.05)
    assert opened["--use_checkpoint"] == ("off", False)
    assert opened["--train_strategy"][1] == "full"
    config = config_of(made)
    assert (config.model.queries, config.clips.lengths, config.clips.interval) == (10, (5,), 10)
    assert (config.model.dropout, config.model.denoising) == (0.0, 0.05)


def test_every_argument_is_told_of_once(motrv2: Path) -> None:
    made = import_arguments(motrv2 / "configs" / "volleyball_full_finetune.args")
    told = [
        *(one.argument for one in made.taken),
        *(one.argument for one in made.opened),
        *(one.argument for one in made.left),
    ]
    names = [argument.split()[0] for argument in told]
    assert len(names) == len(set(names))
    asked = {line.split()[0] for line in BRIEF.splitlines()} - {"--epoch"} | {"--epochs"}
    assert asked <= set(names)


def test_the_published_config(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "--meta_arch motr --dataset_file e2e_dance --epoch 5 --with_box_refine --lr_drop 4\n"
        "--lr 2e-4 --lr_backbone=2e-5 --pretrained '/far/deformable detr.pth' --batch_size 1\n"
        "--sample_mode random_interval --sample_interval 10 --sampler_lengths 2 3 4 5 \\\n"
        "--sampler_steps 1 2 3 --merger_dropout 0 --dropout 0 --random_drop 0.1 --fp_ratio 0.3\n"
        "--query_interaction_layer QIMv2 --query_denoise 0.05 --num_queries 10 --append_crowd\n"
        "--det_db det_db_motrv2.json --use_checkpoint --sgd --clip_max_norm 0.5 # the end\n",
    )
    made = import_arguments(path, tmp_path / "data")
    config = config_of(made)
    assert config.clips.lengths == (2, 3, 4, 5)
    assert config.clips.epochs == (1, 2, 3)
    assert config.model.pretrained == Path("/far/deformable detr.pth")
    assert config.learning.recompute
    assert config.runner.optimizer.name == "SGD"
    assert config.runner.clip == 0.5
    assert config.runner.schedule.milestones == (4,)
    assert "never uses it" in left(made)["--random_drop"]
    assert "never uses it" in left(made)["--fp_ratio"]
    assert any("deformable detr.pth is not there" in told for told in made.warnings)


def test_the_rate_falls_after_every_lr_drop_epochs_or_never(tmp_path: Path) -> None:
    """As torch's StepLR, which the reference uses."""
    often = import_arguments(
        written(tmp_path, "--epochs 10 --lr_drop 3 --meta_arch motr"), tmp_path
    )
    assert config_of(often).runner.schedule.milestones == (3, 6, 9)
    never = import_arguments(
        written(tmp_path, "--epochs 3 --lr_drop 3 --meta_arch motr"), tmp_path
    )
    assert config_of(never).runner.schedule.name == "constant"
    assert any("never falls" in told for told in never.warnings)


def test_a_data_set_of_one_class_for_data_of_eight_is_told(motrv2: Path) -> None:
    path = motrv2 / "configs" / "old.args"
    path.write_text(BRIEF.replace("e2e_volleyball ", "e2e_dance "))
    made = import_arguments(path)
    assert any("for 1 class, but the data have 8" in told for told in made.warnings)
    assert "classes" not in made.values


def test_classes_that_the_data_name_are_kept(motrv2: Path) -> None:
    data = motrv2 / "data" / "Dataset" / "mot" / "volleyball_full"
    (data / "classes.json").write_text(json.dumps({"base": 1, "names": list("abcdefg")}))
    made = import_arguments(motrv2 / "configs" / "volleyball_full_finetune.args")
    assert "classes" not in made.values
    assert any("for 8 classes, but the data have 7" in told for told in made.warnings)


def test_sequences_of_the_list_that_are_not_there_are_told(motrv2: Path) -> None:
    listed = motrv2 / "datasets" / "data_path" / "volleyball_full_train.txt"
    listed.write_text(listed.read_text() + "volleyball_full/train/seq9/img1/000001.jpg\n")
    made = import_arguments(motrv2 / "configs" / "volleyball_full_finetune.args")
    assert any("has not: seq9" in told for told in made.warnings)


def test_of_what_is_given_twice_the_last_counts_and_the_first_is_told(tmp_path: Path) -> None:
    text = "--lr 1e-4 --epochs 3 --meta_arch motr\n--lr 5e-5 --epochs 3 --meta_arch motr"
    made = import_arguments(written(tmp_path, text), tmp_path)
    assert taken(made)["runner.optimizer.lr.all"] == 5e-5
    told = {one.argument: one.reason for one in made.left}
    assert "the last counts" in told["--lr 0.0001"]
    assert "--epochs 3" not in told


def test_the_clips_of_a_step_are_those_of_all_processes(tmp_path: Path) -> None:
    """MOTRv2's published rate is for eight processes with a clip each."""
    started = "torchrun --nproc_per_node=4 main.py --lr 2e-4"
    launched = import_arguments(written(tmp_path, started), tmp_path)
    assert config_of(launched).runner.accumulate == 4
    assert not any("8 clips" in told for told in launched.warnings)
    alone = import_arguments(written(tmp_path, "--lr 2e-4"), tmp_path)
    assert config_of(alone).runner.accumulate == 1
    assert any("set runner.accumulate 8" in told for told in alone.warnings)


def test_a_backbone_at_rate_zero_is_frozen(tmp_path: Path) -> None:
    made = import_arguments(written(tmp_path, "--meta_arch motr --lr_backbone 0"), tmp_path)
    config = config_of(made)
    assert config.freeze.strategy == "custom"
    assert config.freeze.modules == (".", "!backbone")
    frozen = import_arguments(
        written(tmp_path, "--lr_backbone 0 --train_strategy minimal"), tmp_path
    )
    assert config_of(frozen).freeze.strategy == "minimal"


def test_resume_alone_is_a_start_from_weights(tmp_path: Path) -> None:
    made = import_arguments(written(tmp_path, "--meta_arch motr --resume x.pth"), tmp_path)
    assert config_of(made).model.pretrained == tmp_path / "x.pth"
    assert "weights only" in left(made)["--resume"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("--meta_arch motr --learning_rate 1", "'--learning_rate' is no argument of MOTRv2"),
        ("--num_querys 5", "(did you mean --num_queries?)"),
        ("--lr fast", "--lr: invalid float value: 'fast'"),
        ("--sam 5", "ambiguous option: --sam could match"),
        ("--two_stage --hidden_dim 128", "--two_stage, --hidden_dim 128 would make another"),
        ("--cls_loss_coef 3 --pretrained a", "--cls_loss_coef 3 would make another"),
        ("--pretrained a.pth --resume b.pth", "are two files"),
        ("--exp_name run_$SLURM_JOB_ID", "is filled in by a shell"),
        ("$(cat absent.args)", "absent.args: no such file"),
        ("python a.py --lr 1\npython b.py --lr 1", "it starts 2 python commands"),
        ("--lr_drop 0", "expected epochs from 1 on"),
        ("--exp_name 'open", "cannot be parted into words"),
        ("python main.py $(cat $1) --lr 1", "$(cat $1) is filled in by a shell"),
        ("--lr 1e-4; touch /tmp/x", "';' is for a shell, which is not run"),
        ("--exp_name $(touch /tmp/x)", "'(' is for a shell, which is not run"),
        ("--sampler_lengths 2 3 --sampler_steps 5 6", "epochs [5, 6] after which the clip length"),
        ("# nothing\n", "no arguments of MOTRv2"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_in_a_sentence(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises((DataError, ConfigError)) as caught:
        config_of(import_arguments(written(tmp_path, text), tmp_path))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_names_itself_ends(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="files that name files"):
        import_arguments(written(tmp_path, "$(cat some.args)"), tmp_path)


def test_without_a_data_folder_it_asks_for_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="name it with --data"):
        import_arguments(written(tmp_path, "--meta_arch motr"))


def test_the_command_writes_a_config_that_loads(
    motrv2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from backend.cli._motrv2_arguments import write_config

    out = tmp_path / "mine.yaml"
    source = motrv2 / "configs" / "volleyball_full_finetune.args"
    write_config(source, out, None, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert {"argument": "--lr 1e-05", "key": "runner.optimizer.lr.all", "value": 1e-05} in told[
        "taken"
    ]
    assert validate(Motrv2Config, yaml.safe_load(out.read_text()), "x").epochs == 10
    with pytest.raises(ConfigError, match="is there already"):
        write_config(source, out, None, as_json=False)
