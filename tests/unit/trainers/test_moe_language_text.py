import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from backend.core.errors import CheckpointError
from backend.trainers.moe_rtdetr.language.ngrams import grams
from backend.trainers.moe_rtdetr.language.text import (
    HashedText,
    check_encoder,
    encoder_digest,
    text_encoder,
)
from backend.trainers.moe_rtdetr.spec import LanguageConfig

CPU = torch.device("cpu")
PROMPTS = ["find the pedestrians", "找出自行车 please", "Straße №5"]
CODE = """
import hashlib, sys
from backend.trainers.moe_rtdetr.language.ngrams import hashed
print(hashlib.sha256(hashed(sys.argv[1:], 4096).tobytes()).hexdigest())
"""


def embedded(seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *PROMPTS],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_processes_with_different_hash_seeds_agree() -> None:
    assert embedded("1") == embedded("2") != ""


def test_grams_are_words_pairs_trigrams_and_chinese_characters_with_their_pairs() -> None:
    letters = ["t:^re", "t:red", "t:ed$", "t:^ca", "t:car", "t:ar$"]
    chinese = ["c:找", "c:行", "c:人", "d:找行", "d:行人"]
    words = ["w:red", "w:car", "p:red car"]
    assert sorted(grams("Red CAR 找行人!")) == sorted([*words, *letters, *chinese])


def test_a_gram_adds_one_with_its_sign_and_rows_have_length_one() -> None:
    one = HashedText(4096)(["人"], CPU)
    assert one.abs().sum() == 1
    twice = HashedText(4096)(["人,人", "人"], CPU)
    assert torch.equal(twice[0], twice[1])
    rows = HashedText(512)(PROMPTS, CPU)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(3))


def test_case_width_and_punctuation_do_not_matter() -> None:
    rows = HashedText(1024)(
        ["find the BUS", "Find, the bus!", "ｆｉｎｄ the bus", "bus the find"], CPU
    )
    assert torch.equal(rows[0], rows[1])
    assert torch.equal(rows[0], rows[2])
    assert not torch.equal(rows[0], rows[3])


def test_a_text_without_letters_is_zero() -> None:
    assert HashedText(256)(["", "?! ..."], CPU).abs().sum() == 0


def test_no_texts() -> None:
    assert HashedText(256)([], CPU).shape == (0, 256)


def test_the_encoder_follows_the_config() -> None:
    assert text_encoder(LanguageConfig(dimensions=300)).dimensions == 300


def test_dimensions_beside_a_text_model_would_have_no_effect(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="text_encoder has its own"):
        LanguageConfig(text_encoder=tmp_path, dimensions=300)
    kept = LanguageConfig(text_encoder=tmp_path)
    assert LanguageConfig.model_validate(kept.model_dump(mode="json")) == kept


def test_another_encoder_than_the_gate_was_trained_on_is_refused() -> None:
    config = LanguageConfig(dimensions=300)
    check_encoder(config, encoder_digest(config))
    with pytest.raises(CheckpointError, match="not what the gate was trained on"):
        check_encoder(LanguageConfig(dimensions=400), encoder_digest(config))
