import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.harmless import BREAK, harmless, restored

SIGNS = [
    "<image>",
    "<video>",
    "<|im_end|>",
    "<|im_start|>",
    "</s>",
    "<s>",
    "<bos>",
    "<start_of_image>",
    "<end_of_turn>",
    "{{image}}",
    "<image_soft_token>",
    "<IMG_CONTEXT>",
    "<fake_token_around_image>",
    "[INST]",
    "[/INST]",
    "[IMG]",
    "[IMG_BREAK]",
    "<|vision_start|>",
    "<loc0001>",
    "<turn|>",
    "<|turn>",
]


@pytest.mark.parametrize("sign", SIGNS)
def test_no_sign_of_a_model_survives_in_a_post(sign):
    told = harmless(f"look {sign} and {sign}{sign}")
    assert sign not in told
    assert told.replace(BREAK, "") == f"look {sign} and {sign}{sign}"


@pytest.mark.parametrize("plain", ["gm", "1 < 2 > 0", "if a<b and c>d", "[x] done", "I <3 you", "", "مرحبا < سوق >"])
def test_ordinary_words_are_left_alone(plain):
    assert harmless(plain) == plain


@given(st.lists(st.sampled_from([*"<>[]{}|/aZ ", BREAK, "image", "INST"]), max_size=40).map("".join))
def test_a_post_comes_back_as_it_was(text):
    assert restored(harmless(text)) == text
    assert not any(sign in harmless(text) for sign in ("<image>", "[INST]", "</a>", "{{image}}"))
