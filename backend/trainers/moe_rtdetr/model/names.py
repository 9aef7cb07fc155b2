"""How the tensors of ``MoeRtDetr`` are called, and what they are called in a plain detector.

``detector.*`` is transformers' ``RTDetrV2Model`` with its own names, ``class_embed.<layer>`` are
the class heads of the decoder layers, ``tokens.*`` is the layer between encoder and decoder.
Class heads and ``detector.decoder.bbox_embed.<layer>.layers.*`` of a network with experts have
one more axis than in the dense network, in front: the expert.
"""

from typing import Literal

Part = Literal["backbone", "encoder", "token_experts", "routers", "decoder", "heads"]

BACKBONE = ("detector.backbone.",)
ENCODER = ("detector.encoder.", "detector.encoder_input_proj.")
HEADS = (
    *("class_embed.", "detector.decoder.bbox_embed.", "detector.enc_score_head."),
    *("detector.enc_bbox_head.", "detector.denoising_class_embed."),
)


def dense_name(name: str) -> str | None:
    """The tensor of a plain ``RTDetrV2ForObjectDetection`` that ours is filled from.

    None for routers and token experts, which it has not. Where ours has one more axis than the
    plain one, every expert gets a copy: that keeps the function, whatever the router says.
    """
    if part_of(name) in ("routers", "token_experts"):
        return None
    if name.startswith("class_embed."):
        return f"model.decoder.{name}"
    return f"model.{name.removeprefix('detector.')}"


def part_of(name: str) -> Part:
    """The part of the network that a parameter belongs to; ``heads`` has all that depends on the
    classes, and the box heads. Routers of the queries lie in ``bbox_embed``, the tokens' do not.
    """
    if ".router." in name:
        return "routers"
    if name.startswith("tokens."):
        return "token_experts"
    if name.startswith(BACKBONE):
        return "backbone"
    if name.startswith(ENCODER):
        return "encoder"
    return "heads" if name.startswith(HEADS) else "decoder"
