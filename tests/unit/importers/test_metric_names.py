"""Foreign names become keys; directions come from a table, never from a guess."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.events import METRIC_KEY
from backend.importers.keys import direction_of, headline_among, metric_key


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("train/box_loss", "train/box_loss"),
        ("train_loss", "train/loss"),
        ("val_f1", "val/f1"),
        ("eval_accuracy", "val/accuracy"),
        ("Loss/train", "train/loss"),
        ("Accuracy/val", "val/Accuracy"),
        ("Average-mAP", "val/average_mAP"),
        ("mAP@0.5", "val/mAP_0.5"),
        ("Total Loss", "train/loss"),
        ("cls_loss", "train/cls_loss"),
        ("训练损失", "train/loss"),
        ("验证召回率", "val/recall"),
        ("平均mAP", "val/average_mAP"),
        ("学习率", "lr/lr"),
        ("lr", "lr/lr"),
        ("learning_rate", "lr/lr"),
        ("lr/pg0", "lr/pg0"),
        ("train", "train/loss"),
        ("val", "val/loss"),
        ("rollout/ep_rew_mean", "rollout/ep_rew_mean"),
        ("mAP50(M)", "val/mAP50_M"),
        ("模型", "train/u6a21u578b"),
        ("memory", "train/memory"),
    ],
)
def test_names(name: str, key: str) -> None:
    assert metric_key(name) == key
    assert METRIC_KEY.fullmatch(key)


@given(st.text(alphabet=string.printable + "损失率（）％é🙂", min_size=1))
def test_any_name_gives_a_key(name: str) -> None:
    assert METRIC_KEY.fullmatch(metric_key(name))


@pytest.mark.parametrize(
    ("key", "direction"),
    [
        ("val/mAP50-95", "maximize"),
        ("val/average_mAP", "maximize"),
        ("val/coco/bbox_mAP", "maximize"),
        ("val/f1_event", "maximize"),
        ("val/HOTA", "maximize"),
        ("val/loss", "minimize"),
        ("train/loss_cls", "minimize"),
        ("val/precision_error", "minimize"),
        ("val/IDSW", "minimize"),
        ("lr/accuracy", None),
        ("train/grad_norm", None),
        ("train/time", None),
        ("val/happiness", None),
    ],
)
def test_directions(key: str, direction: str | None) -> None:
    assert direction_of(key) == direction


@pytest.mark.parametrize(
    ("keys", "headline"),
    [
        (["train/loss", "val/loss", "val/mAP50", "val/mAP50-95"], "val/mAP50-95"),
        (["train/accuracy", "val/accuracy"], "val/accuracy"),
        (["train/loss", "val/loss", "val/recall"], "val/recall"),
        (["train/loss", "val/loss"], "val/loss"),
        (["train/happiness"], "train/happiness"),
    ],
)
def test_the_headline(keys: list[str], headline: str) -> None:
    assert headline_among(keys) == headline
