"""Arguments of MOTRv2's training script, read from a text as a shell would part them.

A file is one argument per line, several per line, or a whole script whose python command has
them. ``$(cat other.args)`` stands for that file. Nothing is executed.

Names and defaults are those of MOTRv2's ``main.py`` (MIT), and of the scripts around it that
name a strategy and thresholds.
"""

import argparse
import difflib
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from backend.core.errors import DataError
from backend.importers.reading import read_text

FLAGS = (
    "sgd", "with_box_refine", "two_stage", "accurate_ratio", "enable_fpn", "dilation",
    "decoder_cross_self", "sigmoid_attn", "crop", "cj", "extra_track_attn", "loss_normalizer",
    "filter_ignore", "append_crowd", "masks", "no_aux_loss", "mix_match", "remove_difficult",
    "eval", "vis", "cache_mode", "update_query_pos", "memory_bank_with_self_attn",
    "use_checkpoint",
)  # fmt: skip
TEXTS = (
    "meta_arch", "frozen_weights", "backbone", "position_embedding", "dataset_file",
    "gt_file_train", "gt_file_val", "coco_path", "coco_panoptic_path", "output_dir", "device",
    "resume", "pretrained", "mot_path", "det_db", "input_video", "data_txt_path_train",
    "data_txt_path_val", "img_path", "query_interaction_layer", "sample_mode", "exp_name",
    "memory_bank_type", "train_strategy",
)  # fmt: skip
WHOLE = (
    "batch_size", "epochs", "lr_drop", "save_period", "num_anchors", "num_feature_levels",
    "enc_layers", "dec_layers", "dim_feedforward", "hidden_dim", "nheads", "num_queries",
    "dec_n_points", "enc_n_points", "max_size", "val_width", "seed", "start_epoch", "num_workers",
    "sample_interval", "memory_bank_len", "miss_tolerance",
)  # fmt: skip
NUMBERS = (
    "lr", "lr_backbone", "lr_linear_proj_mult", "weight_decay", "clip_max_norm",
    "position_embedding_scale", "dropout", "set_cost_class", "set_cost_bbox", "set_cost_giou",
    "mask_loss_coef", "dice_loss_coef", "cls_loss_coef", "bbox_loss_coef", "giou_loss_coef",
    "focal_alpha", "random_drop", "fp_ratio", "merger_dropout", "memory_bank_score_thresh",
    "query_denoise", "score_threshold", "update_score_threshold",
)  # fmt: skip
LISTS: Mapping[str, Callable[[str], object]] = {
    "lr_backbone_names": str, "lr_linear_proj_names": str,
    "lr_drop_epochs": int, "sampler_steps": int, "sampler_lengths": int,
}  # fmt: skip

_OTHER_FILE = re.compile(r"\$\(\s*(?:cat\s+|<\s*)([^()]+?)\s*\)|`\s*cat\s+([^`]+?)\s*`")
_QUOTED = re.compile(r"[\"'](" + _OTHER_FILE.pattern + r")[\"']")
_ENDS = re.compile(r"[|&;<>()]+")
_REDIRECTED = re.compile(r"\s\d>")
_PROCESSES = re.compile(r"--nproc[_-]per[_-]node[=\s]+(\d+)")
_SHELL = re.compile(r"[|&;<>()`$]")
_MOST_FILES = 8


@dataclass(frozen=True)
class Given:
    """Name to value; what the same file ``overruled`` further on; how many ``processes`` it
    starts, None where it does not say."""

    values: Mapping[str, object]
    overruled: Sequence[tuple[str, object]] = ()
    processes: int | None = None


def read_arguments(path: Path, find: Callable[[str], Path]) -> Given:
    """What a file gives; of what is given twice the last counts, as a parser has it.

    ``find`` turns a path of another file into one that can be opened. Raises DataError with one
    sentence for what is no argument of MOTRv2, or has a wrong value.
    """
    text = _inserted(read_text(path), path, find, _MOST_FILES)
    parser = _parser(path)
    known, unknown = parser.parse_known_args(list(_words(text, path)))
    if unknown and _SHELL.search(unknown[0]):
        raise DataError(
            f"{path}: '{unknown[0]}' is for a shell, which is not run; keep arguments only"
        )
    if unknown:
        near = difflib.get_close_matches(unknown[0], parser.names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise DataError(
            f"{path}: '{unknown[0]}' is no argument of MOTRv2{hint}; take it out or mend it"
        )
    given = vars(known)
    if not given:
        raise DataError(f"{path}: no arguments of MOTRv2, such as --meta_arch motr, are in it")
    for name, value in given.items():
        if "$" in str(value):
            raise DataError(
                f"{path}: --{name} {value} is filled in by a shell, which is not run; write its "
                "value"
            )
    processes = _PROCESSES.search(text)
    return Given(given, parser.overruled, int(processes[1]) if processes else None)


class _Last(argparse.Action):
    """Stores a value, and keeps the one that it takes the place of."""

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        overruled: list[tuple[str, object]],
        **more: Any,
    ) -> None:
        super().__init__(option_strings, dest, **more)
        self._overruled = overruled

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Of argparse."""
        before = getattr(namespace, self.dest, values)
        if before != values:
            self._overruled.append((self.dest, before))
        setattr(namespace, self.dest, values)


class _Parser(argparse.ArgumentParser):
    """Takes shortened names as MOTRv2's does (its own file says --epoch); errors are ours."""

    def __init__(self, source: Path) -> None:
        super().__init__(prog="MOTRv2", add_help=False, argument_default=argparse.SUPPRESS)
        self._source = source
        self.overruled: list[tuple[str, object]] = []

    @property
    def names(self) -> list[str]:
        """All arguments."""
        return [option for action in self._actions for option in action.option_strings]

    def error(self, message: str) -> NoReturn:
        """Raise DataError."""
        raise DataError(f"{self._source}: {message.removeprefix('argument ')}")


def _parser(source: Path) -> _Parser:
    parser = _Parser(source)
    kept = partial(parser.add_argument, action=_Last, overruled=parser.overruled)
    for name in FLAGS:
        parser.add_argument(f"--{name}", action="store_true")
    kinds: tuple[tuple[Sequence[str], Callable[[str], object]], ...] = (
        (TEXTS, str), (WHOLE, int), (NUMBERS, float),
    )  # fmt: skip
    for names, kind in kinds:
        for name in names:
            kept(f"--{name}", type=kind)
    for name, kind in LISTS.items():
        kept(f"--{name}", type=kind, nargs="+")
    return parser


def _inserted(text: str, path: Path, find: Callable[[str], Path], left: int) -> str:
    """The text with the content of the files that it names by ``$(cat ...)``."""

    def content(match: re.Match[str]) -> str:
        name = next(group for group in match.groups() if group is not None).strip("\"'")
        if "$" in name:
            raise DataError(
                f"{path}: {match[0]} is filled in by a shell, which is not run; import the file "
                "of arguments that it stands for"
            )
        if not left:
            raise DataError(f"{path}: files that name files that name files; write one")
        other = find(name)
        inner = _inserted(_plain(read_text(other)), other, find, left - 1)
        return " ".join(line.strip() for line in inner.splitlines())

    return _OTHER_FILE.sub(content, _QUOTED.sub(r"\1", _plain(text)))


def _plain(text: str) -> str:
    """Without comments, and without the arrows that explain a line in a document."""
    lines = (re.split(r"(?:^|\s)[#←]", line)[0] for line in text.splitlines())
    return "\n".join(lines)


def _words(text: str, path: Path) -> Sequence[str]:
    """The arguments: those of the only python command, or all there is."""
    lines = [line.strip() for line in re.sub(r"\\\s*\n", " ", text).splitlines()]
    commands = [line for line in lines if re.search(r"\.py(\s|$)", line)]
    if len(commands) > 1:
        raise DataError(f"{path}: it starts {len(commands)} python commands; keep one of them")
    if not commands:
        return _split(" ".join(lines), path)
    words = _split(_REDIRECTED.sub(" >", commands[0]), path)
    script = next(place for place, word in enumerate(words) if word.endswith(".py"))
    kept = words[script + 1 :]
    ends = (place for place, word in enumerate(kept) if _ENDS.fullmatch(word))
    return kept[: next(ends, len(kept))]


def _split(text: str, path: Path) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        return list(lexer)
    except ValueError as error:
        raise DataError(f"{path}: cannot be parted into words ({error})") from None
