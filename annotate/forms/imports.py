import re
from collections.abc import Sequence
from typing import Any, Self

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from annotate.importing.columns import VOTER_NAME, Columns
from annotate.importing.formats import Preview
from annotate.importing.topk import UNNAMED

ONE_EACH = ("text", "image", "id", "label", "date", "source", "incongruous")
NEITHER = (
    "Say which column holds the text or the picture; a post needs one of them. For votes on posts that are here, say "
    "which column holds their ids, and tick whose votes."
)


class UploadForm(forms.Form):
    file = forms.FileField(
        label="A file with posts",
        help_text="CSV, TSV, JSON, JSONL, Parquet, a ZIP of images, ShareGPT, Label Studio tasks, "
        "or a saved 4chan thread or catalogue.",
        error_messages={"required": "Choose a file first.", "empty": "That file is empty."},
    )

    def clean_file(self) -> "UploadedFile[bytes]":
        file: UploadedFile[bytes] = self.cleaned_data["file"]
        if (file.size or 0) > settings.UPLOAD_MAX_BYTES:
            limit = settings.UPLOAD_MAX_BYTES // 1024**2
            raise forms.ValidationError(f"That file is larger than {limit:,} MB; split it, or import it on the server.")
        return file


class BoardForm(forms.Form):
    board = forms.CharField(max_length=12, help_text="Its short name, such as biz.")
    threads = forms.IntegerField(
        min_value=1, max_value=200, initial=10, help_text="The most recently active ones. One request a second."
    )
    with_pictures = forms.BooleanField(required=False, initial=True, label="Fetch the pictures too")

    def clean_board(self) -> str:
        board: str = self.cleaned_data["board"].strip().strip("/").lower()
        if not re.fullmatch(r"[a-z0-9]{1,8}", board):
            raise forms.ValidationError("A board's name is a few letters, such as biz.")
        return board


class MappingForm(forms.Form):
    """Which column is what. Only formats with free columns ask; the others know."""

    text = forms.ChoiceField(required=False)
    image = forms.ChoiceField(required=False, label="Picture")
    id = forms.ChoiceField(required=False, label="Id")
    label = forms.ChoiceField(required=False, label="Known label")
    date = forms.ChoiceField(required=False, label="Date")
    source = forms.ChoiceField(required=False, label="Source")
    incongruous = forms.ChoiceField(required=False, label="Incongruous")
    votes = forms.MultipleChoiceField(
        required=False,
        label="Votes",
        help_text="Each becomes a voter, and its cells that voter's votes.",
        widget=forms.CheckboxSelectMultiple,
    )
    topk = forms.MultipleChoiceField(
        required=False,
        label="Votes with probabilities",
        help_text="Each becomes a voter that also says how likely its next guesses are.",
        widget=forms.CheckboxSelectMultiple,
    )
    voter = forms.CharField(
        required=False,
        max_length=VOTER_NAME,
        label="Whose predictions these are",
        help_text="For those that come without a name.",
        widget=forms.TextInput({"autocomplete": "off", "placeholder": UNNAMED}),
    )
    holdout = forms.BooleanField(
        required=False,
        label="These are the locked test set",
        help_text="Never trained on and never shown as examples. Every row needs its known label.",
    )

    def __init__(self, *args: Any, headers: list[str], topk: Sequence[tuple[str, str]] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(header, header) for header in headers]
        for name in ONE_EACH:
            self.choice(name).choices = [("", "from the content" if name == "id" else "none"), *choices]
        self.choice("votes").choices = choices
        self.choice("topk").choices = topk
        absent = () if headers and topk else ("topk", "voter") if headers else (*ONE_EACH, "votes", "topk", "voter")
        for name in absent:
            del self.fields[name]

    def choice(self, name: str) -> forms.ChoiceField:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        return field

    @classmethod
    def for_preview(cls, preview: Preview) -> Self:
        columns = preview.columns
        initial = columns.asdict() if columns else {}
        return cls(headers=preview.headers, topk=preview.topk, initial=initial)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        votes_alone = cleaned.get("id") and (cleaned.get("votes") or cleaned.get("topk"))
        if "text" in self.fields and not (cleaned.get("text") or cleaned.get("image") or votes_alone):
            raise forms.ValidationError(NEITHER)
        return cleaned

    def options(self) -> dict[str, Any]:
        if "text" not in self.fields:
            return {}
        chosen = {name: self.cleaned_data[name] for name in ONE_EACH}
        votes, topk = (tuple(self.cleaned_data.get(name, ())) for name in ("votes", "topk"))
        columns = Columns(**chosen, votes=votes, topk=topk, voter=self.cleaned_data.get("voter", "").strip())
        return {"columns": columns.asdict()}
