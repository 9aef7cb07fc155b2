"""Names inside Ultralytics that the engine relies on; a new release that moves one fails here."""

import inspect

import ultralytics
from ultralytics.data.base import BaseDataset
from ultralytics.data.build import InfiniteDataLoader
from ultralytics.engine import trainer
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator
from ultralytics.utils import SETTINGS, nms
from ultralytics.utils.torch_utils import EarlyStopping, ModelEMA

from backend.trainers.yolo.engine import Engine
from backend.trainers.yolo.hermetic import OFF


def test_the_release_is_the_one_that_was_read() -> None:
    assert ultralytics.__version__.startswith("8.4.")


def test_the_loop_still_asks_what_the_engine_answers() -> None:
    loop = inspect.getsource(BaseTrainer._do_train)
    for name in (
        "self._oom_retries >= 3",
        "self._handle_nan_recovery(epoch)",
        "self.save_metrics(",
        "self.save_model()",
        "self.final_eval()",
        "self.optimizer_step()",
        "self._model_train()",
        'self.run_callbacks("on_train_epoch_start")',
        'self.run_callbacks("on_train_batch_start")',
        'self.run_callbacks("on_fit_epoch_end")',
        "self.args.val or final_epoch or self.stopper.possible_stop",
    ):
        assert name in loop, name
    setup = inspect.getsource(BaseTrainer._setup_train)
    assert "check_amp(self.model)" in setup
    assert "self.resume_training(ckpt)" in setup
    assert 'always_freeze_names = [".dfl"]' in setup
    assert 'f"model.{x}."' in setup
    assert "self.freeze_layer_names" in inspect.getsource(BaseTrainer._model_train)


def test_what_made_images_rely_on_is_there() -> None:
    """The mosaic's buffer, and the length that the loader asks for."""
    loading = inspect.getsource(BaseDataset.load_image)
    for name in ("self.buffer.append(i)", "self.max_buffer_length", "self.ims[j], self.im_hw0[j]"):
        assert name in loading, name
    assert inspect.getsource(BaseDataset.get_image_and_label).count("self.update_labels_info") == 1
    assert "len(self.labels)" in inspect.getsource(BaseDataset.__len__)


def test_the_overridden_methods_exist() -> None:
    own = [name for name, value in vars(Engine).items() if inspect.isfunction(value)]
    ours = {"close", "_thaw", "_close_pasting", "_begin_epoch", "_begin_batch", "_end_batch",
            "_end_epoch", "_end_training"}  # fmt: skip
    for name in set(own) - ours:
        assert hasattr(DetectionTrainer, name), name
    assert not any(hasattr(DetectionTrainer, name) for name in ours)


def test_the_amp_check_that_downloads_is_replaced() -> None:
    assert trainer.check_amp.__module__ == "backend.trainers.yolo.engine"


def test_reporting_to_elsewhere_is_off() -> None:
    assert not any(SETTINGS[name] for name in OFF)
    assert "Trainer" not in Engine.__name__


def test_helpers_have_the_arguments_that_are_passed() -> None:
    assert "max_time_img" in inspect.signature(nms.non_max_suppression).parameters
    assert "updates" in inspect.signature(ModelEMA).parameters
    assert "patience" in inspect.signature(EarlyStopping).parameters
    assert "nms.non_max_suppression" in inspect.getsource(DetectionValidator.postprocess)
    assert {"reset", "close"} <= vars(InfiniteDataLoader).keys()
