"""A config of ours from the arguments that MOTRv2's training was started with.

Each argument is taken, or left out with a reason, or refused because it would make another
network. What a file leaves open gets the values of MOTRv2's published config, not those of its
argument parser, with which the published checkpoint does not even load. All of it is told.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backend.core.errors import DataError
from backend.importers.motrv2_arguments import read_arguments
from backend.importers.motrv2_places import Places, class_names, data_folder

DIRECT: Mapping[str, tuple[str, object, object]] = {
    "epochs": ("epochs", 5, 50),
    "seed": ("seed", 0, 42),
    "device": ("device", "auto", "cuda"),
    "lr": ("runner.optimizer.lr.all", 2e-4, 2e-4),
    "lr_linear_proj_mult": ("learning.linear_proj_lr_mult", 0.1, 0.1),
    "weight_decay": ("runner.optimizer.weight_decay", 1e-4, 1e-4),
    "clip_max_norm": ("runner.clip", 0.1, 0.1),
    "batch_size": ("runner.batch", 1, 2),
    "num_workers": ("runner.workers", 2, 2),
    "save_period": ("runner.checkpoints.interval", 1, 50),
    "sampler_lengths": ("clips.lengths", [5], None),
    "sampler_steps": ("clips.epochs", [], None),
    "sample_interval": ("clips.interval", 10, 1),
    "num_queries": ("model.queries", 10, 300),
    "dropout": ("model.dropout", 0.0, 0.1),
    "query_denoise": ("model.denoising", 0.05, 0.0),
    "update_query_pos": ("model.position_update", False, False),
    "use_checkpoint": ("learning.recompute", False, False),
    "score_threshold": ("tracker.score_thresh", 0.5, 0.5),
    "update_score_threshold": ("tracker.update_score_thresh", 0.5, 0.5),
    "miss_tolerance": ("tracker.miss_tolerance", 20, 20),
}
"""Argument to our key, to the value where a file leaves it open, to their parser's."""

SIZES: Mapping[str, object] = {
    "backbone": "resnet50", "num_feature_levels": 4, "enc_layers": 6, "dec_layers": 6,
    "dim_feedforward": 1024, "hidden_dim": 256, "nheads": 8, "dec_n_points": 4, "enc_n_points": 4,
}  # fmt: skip
FIXED: Mapping[str, object] = {
    "meta_arch": "motr", "position_embedding": "sine", "position_embedding_scale": 2 * math.pi,
    "num_anchors": 1, "set_cost_class": 2.0, "set_cost_bbox": 5.0, "set_cost_giou": 2.0,
    "cls_loss_coef": 2.0, "bbox_loss_coef": 5.0, "giou_loss_coef": 2.0, "focal_alpha": 0.25,
    "lr_backbone_names": ["backbone.0"],
    "lr_linear_proj_names": ["reference_points", "sampling_offsets"],
}  # fmt: skip
OTHER_NETWORK = (
    "two_stage", "accurate_ratio", "enable_fpn", "dilation", "decoder_cross_self", "sigmoid_attn",
    "extra_track_attn", "masks", "no_aux_loss", "mix_match", "memory_bank_with_self_attn",
    "frozen_weights", "memory_bank_type",
)  # fmt: skip

ONLY: Mapping[str, tuple[object, object]] = {
    "query_interaction_layer": ("QIMv2", "QIM"),
    "sample_mode": ("random_interval", "fixed_interval"),
    "with_box_refine": (True, False),
}
"""What MOTRv2 itself runs with only, and its parser's default."""

_NEVER_USED = "MOTRv2 takes it and never uses it; here learning.{} would, and is 0"
_SAME_DATA = "of other data sets than folders of MOT sequences"
_OWN_COMMAND = "training only is imported; see assay evaluate"
REASONS: Mapping[str, str] = {
    "random_drop": _NEVER_USED.format("track_drop_prob"),
    "fp_ratio": _NEVER_USED.format("fp_insert_ratio"),
    "output_dir": "a run's files lie in Assay's home (assay --home)",
    "start_epoch": "a training begins with its first epoch",
    "append_crowd": "a config has one data folder; still images are for clips.pseudo",
    "data_txt_path_val": "the split 'val' of the data folder is used",
    "max_size": "MOTRv2's video data does not use it; sizes are in images",
    "val_width": "MOTRv2's video data does not use it; sizes are in images",
    "crop": "MOTRv2's video data does not use it; images.crop is always on",
    "cj": "MOTRv2's video data does not use it; images.hsv is always on",
    "cache_mode": "images are read as they are needed",
    **dict.fromkeys(("eval", "vis", "input_video", "img_path"), _OWN_COMMAND),
    **dict.fromkeys(
        ("coco_path", "coco_panoptic_path", "gt_file_train", "gt_file_val", "remove_difficult"),
        _SAME_DATA,
    ),
    **dict.fromkeys(("mask_loss_coef", "dice_loss_coef"), "there are no masks"),
    **dict.fromkeys(("memory_bank_len", "memory_bank_score_thresh"), "there is no memory bank"),
    **dict.fromkeys(("loss_normalizer", "filter_ignore"), "MOTRv2's training has no such choice"),
}

CLASSES = {"e2e_dance": 1, "e2e_mot": 1, "e2e_joint": 1, "e2e_static_mot": 1, "e2e_volleyball": 8}
"""How many classes MOTRv2 makes of a data set's name; the last one is no public one's."""
VOLLEYBALL = (
    "Volleyball-Players", "Defense-Move", "Attack", "Block", "Reception", "Service", "Setting",
    "Stand",
)  # fmt: skip
FIXED_HERE = "always so"
EVERYTHING_BUT_BACKBONE = (".", "!backbone")
DROP, GAMMA, PUBLISHED_RATE = 4, 0.1, 2e-4


@dataclass(frozen=True)
class Taken:
    """An argument of the file, as ``key`` of ours."""

    argument: str
    key: str
    value: object


@dataclass(frozen=True)
class Open:
    """What the file does not say: our key and value, and what MOTRv2's parser would have."""

    argument: str
    key: str
    value: object
    theirs: str


@dataclass(frozen=True)
class Left:
    """An argument that has no effect here."""

    argument: str
    reason: str


@dataclass
class Imported:
    """A config by dotted keys, and where each value is from."""

    values: dict[str, object] = field(default_factory=lambda: {"kind": "motrv2"})
    taken: list[Taken] = field(default_factory=list)
    opened: list[Open] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def take(self, argument: str, key: str, value: object) -> None:
        """A value of the file."""
        self.values[key] = value
        self.taken.append(Taken(argument, key, value))

    def open(self, name: str, key: str, value: object, theirs: object) -> None:
        """A value that the file leaves open."""
        self.values[key] = value
        told = "none" if theirs is None else shown(theirs)
        self.opened.append(Open(f"--{name}", key, value, told))

    def leave(self, argument: str, reason: str) -> None:
        """What has no effect."""
        self.left.append(Left(argument, reason))


def import_arguments(path: Path, data: Path | None = None) -> Imported:
    """The config that a file of arguments asks for; ``data`` is the folder of MOT sequences.

    Raises DataError with one sentence for what cannot be taken over.
    """
    places = Places.of(path)
    read = read_arguments(path, places.file)
    given = read.values
    places = places.below(given.get("mot_path"))
    _refuse(given, path)
    made = Imported()
    _name_and_data(made, given, places, data)
    _weights(made, given, places, path)
    _directly(made, given)
    _rates(made, given)
    _clips_of_a_step(made, read.processes)
    _strategy(made, given)
    _without_effect(made, given)
    for name, value in read.overruled:
        made.leave(_argument(name, value), "given again further on; the last counts")
    return made


def shown(value: object) -> str:
    """A value as it stands on a command line."""
    if value is True:
        return "on"
    if value is False:
        return "off"
    if isinstance(value, list | tuple):
        return " ".join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _argument(name: str, value: object) -> str:
    return f"--{name}" if value is True else f"--{name} {shown(value)}"


def _refuse(given: Mapping[str, object], path: Path) -> None:
    """What would make another network or loss than ours."""
    wrong = [name for name in given if name in OTHER_NETWORK]
    fixed = FIXED if "pretrained" in given or "resume" in given else {**FIXED, **SIZES}
    wrong += [name for name, value in fixed.items() if _differs(given.get(name, value), value)]
    if wrong:
        listed = ", ".join(_argument(name, given[name]) for name in wrong)
        raise DataError(
            f"{path}: {listed} would make another network or loss than MOTRv2's, which is what "
            "this trainer has; take it out"
        )


def _differs(value: object, wanted: object) -> bool:
    if isinstance(value, float) and isinstance(wanted, float):
        return not math.isclose(value, wanted, rel_tol=1e-6)
    return value != wanted


def _name_and_data(
    made: Imported, given: Mapping[str, object], places: Places, data: Path | None
) -> None:
    if "exp_name" in given:
        made.take(_argument("exp_name", given["exp_name"]), "name", given["exp_name"])
    folder = data_folder(given, places, data)
    made.values["data"] = str(folder.path)
    made.taken.append(Taken(folder.argument, "data", str(folder.path)))
    made.warnings += folder.warnings
    for name in ("data_txt_path_train", "mot_path"):
        if name in given and not folder.argument.startswith(f"--{name}"):
            made.leave(_argument(name, given[name]), folder.reasons[name])
    _classes(made, given, folder.path)
    if "det_db" in given:
        database = places.place(str(given["det_db"]), folder.path.parent, folder.path)
        made.take(_argument("det_db", given["det_db"]), "det_db.path", str(database))
        _warn_if_absent(made, database)
    else:
        made.open("det_db", "det_db.path", None, "none: no proposals, silently")


def _classes(made: Imported, given: Mapping[str, object], folder: Path) -> None:
    """Classes are those of the data; the data set's name tells at most how many."""
    name = given.get("dataset_file")
    if name is None:
        return
    told, argument = CLASSES.get(str(name)), _argument("dataset_file", name)
    names = class_names(folder)
    if names.warning:
        made.warnings.append(names.warning)
    if not names.declared and told == len(VOLLEYBALL) and len(names.found) in (0, told):
        made.take(argument, "classes", list(VOLLEYBALL))
        return
    counted = f" ({len(names.found)})" if names.found else ""
    made.leave(argument, f"classes are those of the data folder{counted}")
    if told is not None and names.found and told != len(names.found):
        made.warnings.append(
            f"{argument} makes a network for {told} class{'es' * (told > 1)}, but the data have "
            f"{len(names.found)}: this config trains {len(names.found)}"
        )


def _weights(made: Imported, given: Mapping[str, object], places: Places, path: Path) -> None:
    """``--pretrained`` and ``--resume`` of a file that another program wrote: its weights."""
    both = {name: str(given[name]) for name in ("pretrained", "resume") if given.get(name)}
    found = {name: places.place(value) for name, value in both.items()}
    if len(set(found.values())) > 1:
        raise DataError(
            f"{path}: --pretrained {both['pretrained']} and --resume {both['resume']} are two "
            "files, and MOTRv2 would load the second over the first; keep one"
        )
    if not found:
        made.open("pretrained", "model.pretrained", None, None)
        return
    name, weights = next(iter(found.items()))
    made.take(_argument(name, both[name]), "model.pretrained", str(weights))
    if "resume" in found:
        why = "the weights of --pretrained again" if len(found) > 1 else "weights only are taken"
        made.leave(
            _argument("resume", both["resume"]),
            f"{why}; MOTRv2 would also go on from the file's epoch and optimizer, which fails "
            "once other tensors train",
        )
    _warn_if_absent(made, weights)


def _directly(made: Imported, given: Mapping[str, object]) -> None:
    for name, (key, ours, theirs) in DIRECT.items():
        if name in given:
            made.take(_argument(name, given[name]), key, given[name])
        else:
            made.open(name, key, ours, theirs)
    if "sgd" in given:
        made.take("--sgd", "runner.optimizer.name", "SGD")
        made.values["runner.optimizer.momentum"] = 0.9


def _rates(made: Imported, given: Mapping[str, object]) -> None:
    """The schedule, as MOTRv2's StepLR: times 0.1 after every ``lr_drop`` epochs."""
    epochs = int(str(made.values["epochs"]))
    drop = int(str(given.get("lr_drop", DROP)))
    if drop < 1:
        raise DataError(f"--lr_drop {drop}: expected epochs from 1 on")
    falls = [float(epoch) for epoch in range(drop, epochs, drop)]
    key = "runner.schedule.milestones"
    if "lr_drop" in given:
        made.take(_argument("lr_drop", drop), key, falls)
    else:
        made.open("lr_drop", key, falls, 40)
    if "lr_drop_epochs" in given:
        made.leave(
            _argument("lr_drop_epochs", given["lr_drop_epochs"]),
            "MOTRv2 takes it and never uses it; the rate falls by --lr_drop",
        )
    made.values["runner.schedule.name"] = "step" if falls else "constant"
    made.values["runner.schedule.gamma"] = GAMMA
    if not falls:
        made.warnings.append(
            f"the learning rate never falls: it would after {drop} epochs, and there are {epochs}"
        )


def _clips_of_a_step(made: Imported, processes: int | None) -> None:
    """MOTRv2's processes take a clip each and step together; here they are accumulated."""
    key, rate = "runner.accumulate", made.values["runner.optimizer.lr.all"]
    if processes is not None:
        made.take(f"--nproc_per_node {processes}", key, processes)
        return
    made.open("nproc_per_node", key, 1, "8 in its script")
    if rate == PUBLISHED_RATE:
        made.warnings.append(
            f"the published rate {shown(rate)} is for 8 clips a step, one for each process, and "
            "this config takes one; set runner.accumulate 8, or a smaller rate"
        )


def _strategy(made: Imported, given: Mapping[str, object]) -> None:
    """``--lr_backbone 0`` freezes the backbone, as in MOTRv2."""
    rate, key = given.get("lr_backbone"), "runner.optimizer.lr.backbone"
    made.values[key] = 2e-5
    if "train_strategy" in given:
        strategy = str(given["train_strategy"])
        made.take(_argument("train_strategy", strategy), "freeze.strategy", strategy)
        made.warnings += _meant(strategy)
    else:
        made.open("train_strategy", "freeze.strategy", "full", "none: everything trains")
    if rate is None:
        made.open("lr_backbone", key, made.values[key], 2e-5)
    elif rate:
        made.take(_argument("lr_backbone", rate), key, rate)
    elif made.values["freeze.strategy"] == "full":
        made.values["freeze.strategy"] = "custom"
        made.take("--lr_backbone 0", "freeze.modules", list(EVERYTHING_BUT_BACKBONE))
    else:
        made.leave("--lr_backbone 0", "the strategy freezes the backbone anyway")


def _meant(strategy: str) -> list[str]:
    """Where a strategy is not what the name meant in the scripts that brought it up."""
    if strategy == "minimal":
        return ["minimal also trains what is new, such as class heads of another class count; "
                "frozen at their start they would track nothing"]  # fmt: skip
    if strategy == "aggressive":
        return ["aggressive trains the decoder's self-attention beside moderate: MOTRv2 has no "
                "layer 'query_interaction' (freeze.names: reference_substring filters by that "
                "name, and then aggressive is moderate)"]  # fmt: skip
    return []


def _without_effect(made: Imported, given: Mapping[str, object]) -> None:
    for name, value in given.items():
        if name in REASONS:
            made.leave(_argument(name, value), REASONS[name])
        elif name in FIXED:
            made.leave(_argument(name, value), "as MOTRv2 has it, which is fixed")
        elif name in SIZES:
            made.leave(_argument(name, value), "sizes are those of the checkpoint")
    for name, (only, theirs) in ONLY.items():
        if name not in given:
            made.opened.append(Open(f"--{name}", FIXED_HERE, only, shown(theirs)))
        elif given[name] == only:
            made.leave(_argument(name, given[name]), "it is always so here")
        else:
            made.leave(
                _argument(name, given[name]),
                f"MOTRv2 itself runs with {only} only, which is used",
            )
    dropout = made.values["model.dropout"]
    if "merger_dropout" in given:
        why = f"model.dropout ({shown(dropout)}) holds for the query interaction too"
        made.leave(_argument("merger_dropout", given["merger_dropout"]), why)
    else:
        made.opened.append(Open("--merger_dropout", "model.dropout", dropout, "0.1"))


def _warn_if_absent(made: Imported, path: Path) -> None:
    if not path.exists():
        made.warnings.append(f"{path} is not there; mend the path in the config")
