"""Our exports in Hugging Face's `datasets` and in TRL's own trainer, as their readers take them."""

import json
from pathlib import Path

import pytest
from datasets import ClassLabel, Image, List, load_dataset
from PIL import Image as Pillow
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)
from trl import SFTConfig, SFTTrainer
from trl.data_utils import is_conversational, prepare_multimodal_messages

from modeling.chat import Chat
from modeling.datasets import items
from modeling.gpu import tiny

SIDE, PATCH = 56, 14
PATCHES = (SIDE // PATCH) ** 2


@pytest.fixture
def posts(dataset):
    return {item.id: item for item in items.items(dataset)}


@pytest.fixture
def load(tmp_path):
    def load(kind, **options):
        return load_dataset(kind, cache_dir=str(tmp_path / "cache"), **options)

    return load


def splits(folder, ending=".jsonl"):
    return {split: str(folder / f"{split}{ending}") for split in items.SPLITS}


class TestJSON:
    def test_sharegpt(self, export, load, posts):
        loaded = load("json", data_files=splits(export("sharegpt")))
        rows = [row for split in loaded.values() for row in split]
        assert {row["id"] for row in rows} == set(posts)
        for row in rows:
            item = posts[row["id"]]
            assert row["messages"][2] == {"role": "assistant", "content": item.label}
            assert row["images"] == ([f"images/{item.image}"] if item.image else [])

    def test_ten_megabytes_of_posts_without_a_picture_before_the_first_with_one(self, export, load, tmp_path):
        """It reads so much to guess the columns: this is why a post with a picture comes first."""
        first, *others = (export("sharegpt", ("train",)) / "train.jsonl").read_text().splitlines()
        without = next(line for line in others if not json.loads(line)["images"])
        grown = tmp_path / "grown.jsonl"
        grown.write_text("\n".join([first, *[without] * (12_000_000 // len(without)), first]))
        loaded = load("json", data_files=str(grown))["train"]
        assert loaded[0]["images"] == loaded[len(loaded) - 1]["images"] != []
        assert loaded[1]["images"] == []

    def test_everything_as_lines(self, export, load, posts):
        loaded = load("json", data_files=str(export("jsonl") / "posts.jsonl"))["train"]
        assert {row["id"]: row["text"] or "" for row in loaded} == {item.id: item.text for item in posts.values()}


class TestImageFolder:
    def test_pictures_words_and_labels(self, export, load, posts):
        loaded = load("imagefolder", data_dir=str(export("imagefolder", items.TO_TRAIN_WITH)))
        assert set(loaded) == set(items.TO_TRAIN_WITH)
        rows = [row for split in loaded.values() for row in split]
        with_picture = {item.id for item in posts.values() if item.image and item.split != "holdout"}
        assert {row["id"] for row in rows} == with_picture
        for row in rows:
            item = posts[row["id"]]
            assert isinstance(row["image"], Pillow.Image)
            assert (row["text"], row["label"], row["group"]) == (item.text, item.label, item.group)

    def test_the_locked_test_set_has_a_folder_of_its_own(self, export, load):
        loaded = load("imagefolder", data_dir=str(export("imagefolder", ("holdout",)) / "holdout"))
        assert sorted(loaded["train"]["text"]) == ["locked 0", "locked 1", "locked 2"]


class TestParquet:
    def test_pictures_and_named_labels(self, export, load, posts, dataset):
        loaded = load(str(export("parquet")))
        assert set(loaded) == set(items.SPLITS)
        names = [label["name"] for label in dataset.facts["labels"]]
        for split, rows in loaded.items():
            assert isinstance(rows.features["image"], Image)
            assert rows.features["label"] == ClassLabel(names=names)
            for row in rows:
                item = posts[row["id"]]
                assert (row["text"], names[row["label"]], split) == (item.text, item.label, item.split)
                assert isinstance(row["image"], Pillow.Image) == bool(item.image)
                assert [vote["voter"] for vote in row["votes"]] == [vote["voter"] for vote in item.votes]
                assert [review["note"] for review in row["reviews"]] == [review["note"] for review in item.reviews]


class TestTRL:
    @pytest.fixture
    def loaded(self, export, load):
        """The lines that its README tells."""
        folder = export("trl")
        data = load("json", data_files=splits(folder))
        data = data.map(lambda row: {"images": [f"{folder}/{path}" for path in row["images"]]})
        return data.cast_column("images", List(Image()))

    def test_its_own_formatting_places_the_pictures(self, loaded, posts, dataset):
        chat = Chat.of(dataset.facts)
        for rows in loaded.values():
            for row in rows:
                item = posts[row["id"]]
                assert is_conversational(row)
                system, user = prepare_multimodal_messages(row["prompt"], images=row["images"])
                assert system["content"] == [{"type": "text", "text": chat.system}]
                *shown, words = user["content"]
                assert [part["type"] for part in shown] == ["image"] * bool(item.image)
                assert all(isinstance(part["image"], Pillow.Image) for part in shown)
                assert words == {"type": "text", "text": chat.user(item.text, has_image=False)}
                assert row["completion"] == [{"role": "assistant", "content": item.label}]

    def test_its_trainer_takes_it_and_puts_the_loss_on_the_answer_alone(self, loaded, posts, tmp_path):
        """A model of random weights with pictures, on a CPU: one step on posts with and without a picture."""
        processor = processor_of([item.text for item in posts.values()])
        short = loaded["train"].filter(lambda row: len(row["prompt"][1]["content"]) < 1000)
        asked = SFTConfig(str(tmp_path / "run"), max_length=None, max_steps=1, per_device_train_batch_size=len(short),
                          use_cpu=True, bf16=False, report_to=[], save_strategy="no")  # fmt: skip
        trainer = SFTTrainer(model_of(processor), args=asked, train_dataset=short, processing_class=processor)
        batch = trainer.data_collator([dict(row) for row in trainer.train_dataset])
        pad = processor.tokenizer.convert_tokens_to_ids("<image>")
        for n, row in enumerate(short):
            said = [int(token) for token in batch["labels"][n] if token != -100]
            assert processor.tokenizer.decode(said).strip() == f"{posts[row['id']].label}<|im_end|>"
            assert int((batch["input_ids"][n] == pad).sum()) == (PATCHES if row["images"] else 0)
        assert trainer.train().training_loss > 0


def processor_of(words):
    tokenizer = tiny.tokenizer_of(words)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    seen = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    template = (Path(tiny.__file__).parent / "tiny.jinja").read_text()
    return LlavaProcessor(
        seen, tokenizer, patch_size=PATCH, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=template.replace("<|vision_start|><|image_pad|><|vision_end|>", "<image>"),
    )  # fmt: skip


def model_of(processor):
    return LlavaForConditionalGeneration(LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=SIDE, patch_size=PATCH, hidden_size=16, intermediate_size=16,
                                       num_hidden_layers=2, num_attention_heads=2),
        text_config=LlamaConfig(vocab_size=len(processor.tokenizer), hidden_size=16, intermediate_size=16,
                                num_hidden_layers=2, num_attention_heads=2),
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
    ))  # fmt: skip
