"""A post and the runs that are asked about it."""

from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

from annotate.images import ACCEPTED
from annotate.models import Project, User
from modeling.answering import questions
from modeling.answering.questions import Post
from modeling.evaluation.predictors import short
from modeling.gpu import tiny
from modeling.models import Question, Run

MOST_OFFERED = 50


class Offer(NamedTuple):
    """A run that can be ticked."""

    run: Run
    says: str
    ticked: bool


class PlaygroundForm(forms.Form):
    text = forms.CharField(
        label="Text", required=False, strip=False,
        widget=forms.Textarea(attrs={"rows": 4, "maxlength": questions.LONGEST_TEXT}),
    )  # fmt: skip
    picture = forms.FileField(
        label="Picture", required=False, help_text=f"{ACCEPTED}.", allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": "image/*"}),
    )  # fmt: skip
    again = forms.UUIDField(required=False, widget=forms.HiddenInput)
    keep = forms.BooleanField(label="Ask with this picture again", required=False)

    def __init__(
        self, data: QueryDict | None = None, files: "MultiValueDict[str, UploadedFile[bytes]] | None" = None, *,
        project: Project, by: User, ticked: set[str] | None = None, before: Question | None = None,
    ) -> None:  # fmt: skip
        self.project, self.by, self.before = project, by, before
        self.ticked = set(data.getlist("run")) if data is not None else ticked or set()
        initial: dict[str, Any] = {}
        if before is not None:
            initial = {"text": before.text, "again": before.batch, "keep": before.has_picture}
        super().__init__(data, files, initial=initial)

    @cached_property
    def offers(self) -> list[Offer]:
        """The latest is ticked, where nothing else is said."""
        runs = list(questions.askable_in(self.project)[:MOST_OFFERED])
        ticked = self.ticked if self.is_bound or self.ticked else {str(run.pk) for run in runs[:1]}
        return [Offer(run, says(run), str(run.pk) in ticked) for run in runs]

    def clean_text(self) -> str:
        """Browsers send the ends of lines as posts do not have them."""
        return str(self.cleaned_data["text"]).replace("\r\n", "\n")

    def clean_picture(self) -> bytes | None:
        upload: UploadedFile[bytes] | None = self.cleaned_data["picture"]
        if upload is None:
            return None
        if problem := questions.too_large(upload.size or 0):
            raise ValidationError(problem)
        data: bytes = upload.read()
        try:
            questions.looked_at(data)
        except questions.Refused as refusal:
            raise ValidationError(str(refusal)) from refusal
        return data

    def clean(self) -> None:
        if self.errors:
            return
        runs = [one.run for one in self.offers if one.ticked]
        if not runs:
            raise ValidationError("Tick a run to ask.")
        if len(runs) > questions.MOST_RUNS:
            raise ValidationError(f"{questions.MOST_RUNS} runs at most are asked at once.")
        given = self.cleaned_data
        picture = given["picture"] or (self.picture_of(given.get("again")) if given["keep"] else None)
        try:
            self.cleaned_data |= {"runs": runs, "post": questions.post_of(given["text"], picture)}
        except questions.Refused as problem:
            raise ValidationError(str(problem)) from problem

    def picture_of(self, again: UUID | None) -> bytes:
        asked = self.project.questions.filter(batch=again, by_page=True) if again else Question.objects.none()
        kept = asked.values_list("picture", flat=True).first()
        if not kept:
            raise ValidationError("The picture of that question is deleted by now; choose it again.")
        return bytes(kept)

    def ask(self) -> UUID:
        post: Post = self.cleaned_data["post"]
        return questions.ask(self.project, self.by, [post], self.cleaned_data["runs"], by_page=True)


def says(run: Run) -> str:
    of = f"{short(run.config['model'])}, trained on {run.dataset.name}"
    return f"{of}. It is no real model." if run.config["model"] == tiny.NAME else f"{of}."
