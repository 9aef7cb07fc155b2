"""The network with its loss: what the Runner trains and a checkpoint holds."""

from collections.abc import Mapping

from torch import Tensor, nn

from backend.core.errors import CheckpointError
from backend.trainers.moe_rtdetr.checkpoint import LANGUAGE, NETWORK, Saved
from backend.trainers.moe_rtdetr.language.gate import LanguageGate
from backend.trainers.moe_rtdetr.language.learner import gated_losses
from backend.trainers.moe_rtdetr.language.text import check_encoder
from backend.trainers.moe_rtdetr.model.batch import Batch
from backend.trainers.moe_rtdetr.model.build import build_network
from backend.trainers.moe_rtdetr.model.criterion import Criterion
from backend.trainers.moe_rtdetr.model.network import MoeRtDetr
from backend.trainers.moe_rtdetr.model.outputs import Gate
from backend.trainers.moe_rtdetr.spec import LanguageConfig, ModelConfig, MoeConfig


class Learner(nn.Module):
    """``network`` finds; ``language`` (stage 2, else None) tells it what is asked for."""

    def __init__(
        self, network: MoeRtDetr, criterion: Criterion, language: LanguageGate | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.criterion = criterion
        self.language = language

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """The total under ``loss``, its parts under their names."""
        if self.language is not None:
            return gated_losses(self.network, self.language, self.criterion, batch)
        output = self.network(batch.images, batch.targets)
        return self.criterion.losses(output, batch.targets).logged()

    def gate(self, prompt: str, images: int) -> Gate | None:
        """What a prompt does to a batch; None without one."""
        if self.language is None or not prompt:
            return None
        queries = self.network.call.queries
        return self.language.gate_of((prompt,) * images, self.network.groups, queries)


def make_learner(
    model: ModelConfig, moe: MoeConfig, language: LanguageConfig, classes: tuple[str, ...]
) -> Learner:
    """A learner with fresh weights. Raises ConfigError."""
    network = build_network(model, moe, classes)
    criterion = Criterion(network.groups, moe)
    gate = LanguageGate(language, classes) if language.enabled else None
    return Learner(network, criterion, gate)


def restored(saved: Saved) -> Learner:
    """The learner of a checkpoint, in evaluation mode. Raises CheckpointError."""
    if saved.language.enabled:
        check_encoder(saved.language, saved.text_encoder)
    learner = make_learner(saved.model, saved.moe, saved.language, saved.classes)
    wrong = learner.load_state_dict(dict(saved.weights), strict=False)
    names = [*wrong.missing_keys, *wrong.unexpected_keys]
    if names:
        parts = f"{NETWORK}* and {LANGUAGE}*"
        raise CheckpointError(
            f"{saved.path}: {len(names)} tensors of {parts} do not fit transformers here (saved "
            f"with {saved.libraries.get('transformers')}), for example {names[0]}"
        )
    return learner.eval()
