import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5Model,
)

from backend.core.errors import CheckpointError, ConfigError
from backend.trainers.moe_rtdetr.language.gate import LanguageGate
from backend.trainers.moe_rtdetr.language.text import check_encoder, encoder_digest, text_encoder
from backend.trainers.moe_rtdetr.spec import LanguageConfig

CPU = torch.device("cpu")
WORDS = ("[PAD]", "[UNK]", "[BOS]", "[EOS]", "find", "the", "car", "bus", "cars")
SIZES = {
    **{"vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 32},
    **{"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 12},
}


def save_tokenizer(folder: Path) -> None:
    words = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 2), ("[EOS]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", bos_token="[BOS]",
        eos_token="[EOS]",
    ).save_pretrained(folder)  # fmt: skip


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    folder = tmp_path / "bert"
    BertModel(BertConfig(**SIZES), add_pooling_layer=False).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    folder = tmp_path / "clip"
    ends = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    CLIPTextModel(CLIPTextConfig(**SIZES, **ends)).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def vectors(folder: Path, *texts: str) -> torch.Tensor:
    return text_encoder(LanguageConfig(text_encoder=folder))(texts, CPU)


def states(folder: Path, text: str) -> torch.Tensor:
    model = BertModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False)
    tokens = PreTrainedTokenizerFast.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        return model.eval()(**tokens).last_hidden_state[0]


def unit(vector: torch.Tensor) -> torch.Tensor:
    return vector / vector.norm()


def test_a_bert_is_averaged_over_its_tokens_without_padding(bert: Path) -> None:
    together = vectors(bert, "find the car", "car")
    for row, text in zip(together, ("find the car", "car"), strict=True):
        torch.testing.assert_close(row, unit(states(bert, text).mean(0)), atol=1e-5, rtol=0)


def test_the_pooling_of_sentence_transformers_is_followed(bert: Path) -> None:
    note = bert / "1_Pooling" / "config.json"
    note.parent.mkdir()
    note.write_text(json.dumps({"word_embedding_dimension": 16, "pooling_mode_cls_token": True}))
    found = vectors(bert, "find the car")[0]
    torch.testing.assert_close(found, unit(states(bert, "find the car")[0]), atol=1e-5, rtol=0)
    note.write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(ConfigError, match="pools by pooling_mode_max_tokens"):
        vectors(bert, "car")


def test_clip_is_read_at_the_end_of_the_text(clip: Path) -> None:
    model = CLIPTextModel.from_pretrained(clip, local_files_only=True)
    tokens = PreTrainedTokenizerFast.from_pretrained(clip)("find the bus", return_tensors="pt")
    with torch.no_grad():
        last = model.eval()(input_ids=tokens["input_ids"]).last_hidden_state[0, -1]
    found = vectors(clip, "find the bus", "find the bus bus bus")
    torch.testing.assert_close(found[0], unit(last), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))


def test_the_text_half_of_a_whole_clip_is_used(tmp_path: Path, clip: Path) -> None:
    folder = tmp_path / "whole"
    ends = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    pictures = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
                "num_attention_heads": 2, "image_size": 8, "patch_size": 4}  # fmt: skip
    whole = CLIPModel(CLIPConfig(text_config={**SIZES, **ends}, vision_config=pictures))
    text = CLIPTextModel.from_pretrained(clip, local_files_only=True)
    found = whole.text_model.load_state_dict(text.state_dict(), strict=False)
    assert not found.missing_keys
    whole.save_pretrained(folder)
    save_tokenizer(folder)
    torch.testing.assert_close(vectors(folder, "the bus"), vectors(clip, "the bus"))


def test_a_model_that_is_not_for_texts_alone_is_refused(bert: Path) -> None:
    sizes = {"vocab_size": len(WORDS), "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1}
    T5Model(T5Config(**sizes, num_heads=2)).save_pretrained(bert)
    with pytest.raises(ConfigError, match="cannot be read as a text model"):
        vectors(bert, "car")


def test_texts_longer_than_the_model_are_cut_off(bert: Path) -> None:
    assert vectors(bert, "find the car " * 30).shape == (1, 16)


def test_its_weights_stay_out_of_the_gate(bert: Path) -> None:
    gate = LanguageGate(LanguageConfig(text_encoder=bert), ("car", "bus"))
    assert set(gate.state_dict()) == {
        *("mlp.0.weight", "mlp.0.bias", "mlp.2.weight", "mlp.2.bias", "most_objects")
    }
    assert gate.mlp[0].in_features == 16
    prompts = ["find the car"]
    assert torch.equal(copy.deepcopy(gate).asked(prompts), gate.asked(prompts))


def test_the_digest_changes_with_the_weights(bert: Path) -> None:
    config = LanguageConfig(text_encoder=bert)
    digest = encoder_digest(config)
    check_encoder(config, digest)
    BertModel(BertConfig(**SIZES), add_pooling_layer=False).save_pretrained(bert)
    with pytest.raises(CheckpointError, match="not what the gate was trained on"):
        check_encoder(config, digest)


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="put it back"):
        encoder_digest(LanguageConfig(text_encoder=tmp_path / "gone"))


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def no_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def pickled_weights(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def other_model(folder: Path) -> None:
    sizes = {**SIZES, "num_hidden_layers": 2}
    BertConfig(**sizes).save_pretrained(folder)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (no_config, "has no config.json"),
        (no_tokenizer, "has no tokenizer"),
        (pickled_weights, "safetensors"),
        (cut_weights, "cannot be read"),
        (broken_config, "cannot be read"),
        (other_model, "16 of its tensors are missing"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_in_a_sentence(
    bert: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(bert)
    with pytest.raises(ConfigError, match=said) as caught:
        text_encoder(LanguageConfig(text_encoder=bert))
    assert "\n" not in str(caught.value)
