"""AdaTAD: a window of frames to actions at points, and the loss of a batch of windows."""

from torch import Tensor, nn

from backend.trainers.adatad.batch import Batch
from backend.trainers.adatad.model.backbone import Backbone
from backend.trainers.adatad.model.geometry import Geometry
from backend.trainers.adatad.model.head import Head
from backend.trainers.adatad.model.losses import MOMENTUM, summed_losses
from backend.trainers.adatad.model.points import Outputs
from backend.trainers.adatad.model.projection import Neck, Projection


class AdaTad(nn.Module):
    """``backbone`` with its adapters, and the detector: ``projection``, ``neck``, ``head``."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry
        self.backbone = Backbone(geometry)
        self.projection = Projection(geometry)
        self.neck = Neck(geometry)
        self.head = Head(geometry)

    def forward(self, frames: Tensor, valid: Tensor) -> Outputs:
        """What is found in windows (B, T, 3, H, W) uint8. Raises ConfigError for other sizes."""
        return self.detect(self.features(frames, valid), valid)

    def outputs(self, batch: Batch) -> Outputs:
        """What is found in a batch; features that it brings are not computed again."""
        if batch.features is None:
            outputs: Outputs = self(batch.frames, batch.valid)
            return outputs
        return self.detect(self.backbone.spread(batch.features, batch.valid), batch.valid)

    def features(self, frames: Tensor, valid: Tensor) -> Tensor:
        """The backbone's part: (B, C, T) float32, zero in the padding."""
        self.geometry.check(frames.shape[1], frames.shape[-2], frames.shape[-1])
        y: Tensor = self.backbone(frames, valid)
        return y

    def detect(self, features: Tensor, valid: Tensor) -> Outputs:
        """The detector's part."""
        outputs: Outputs = self.head(self.neck(self.projection(features, valid)))
        return outputs

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``cls_loss`` and ``reg_loss``, whose sum is trained on, and ``positives``."""
        outputs = self.outputs(batch)
        return self.normalised(summed_losses(outputs, batch.segments, batch.labels))

    def normalised(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses over positive points: their running mean in training, which it moves; their
        number in evaluation."""
        count = losses["positives"].clamp(min=1)
        if self.training:
            self.head.loss_normalizer.lerp_(count, 1 - MOMENTUM)
            count = self.head.loss_normalizer.clone()
        return {
            name: value / count if name.endswith("_loss") else value
            for name, value in losses.items()
        }
