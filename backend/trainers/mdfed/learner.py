"""The network with its loss: what the Runner trains and a checkpoint holds."""

from collections.abc import Mapping

from torch import Tensor, nn

from backend.trainers.mdfed.batch import Batch
from backend.trainers.mdfed.losses import Criterion
from backend.trainers.mdfed.model.network import MdFed


class Learner(nn.Module):
    """Event spotting on labelled windows (stages 1 and 3)."""

    def __init__(self, network: MdFed, criterion: Criterion) -> None:
        super().__init__()
        self.network = network
        self.criterion = criterion

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """The total under ``loss``, its parts under their names."""
        return self.criterion.means(self.criterion(self.network(batch), batch))
