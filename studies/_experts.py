"""What the studies of experts share: which configurations fit the config's classes."""

from backend.config.schema import TrainConfig
from backend.core.errors import StudyError
from backend.trainers.moe_rtdetr.spec import GROUPS, MoeRtDetrConfig

KIND = "moe_rtdetr"
EXPERTS, TOP_K, GROUPS_KEY = "moe.experts", "moe.top_k", "moe.groups"
TOP_KS = (1, 2, 3)


def config_of(base: TrainConfig) -> MoeRtDetrConfig:
    """The config as what it is; ``StudySpec.trainers`` lets no other kind through."""
    assert isinstance(base, MoeRtDetrConfig)
    return base


def configurations(base: TrainConfig) -> dict[str, dict[str, tuple[str, ...]]]:
    """The expert configurations that are partitions of the config's classes, and the config's
    own groups. Raises StudyError if there is none."""
    config = config_of(base)
    found = {
        name: groups
        for name, groups in GROUPS.items()
        if sorted(one for group in groups.values() for one in group) == sorted(config.classes)
    }
    if config.moe.groups:
        found["custom"] = config.moe.groups
    if not found:
        raise StudyError(
            f"no expert configuration fits the classes {', '.join(config.classes)}; set "
            "moe.experts=custom and moe.groups"
        )
    return found


def top_ks(base: TrainConfig) -> list[int]:
    """The top-k that every configuration has experts for."""
    fewest = min(len(groups) for groups in configurations(base).values())
    return [k for k in TOP_KS if k <= fewest]


def chosen(base: TrainConfig, experts: str) -> dict[str, object]:
    """The overrides that select a configuration."""
    groups = config_of(base).moe.groups
    overrides: dict[str, object] = {EXPERTS: experts}
    if groups:
        overrides[GROUPS_KEY] = groups if experts == "custom" else {}
    return overrides
