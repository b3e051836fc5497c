from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.db import transaction
from django.http import QueryDict

from annotate.models import Event, Project, User

if TYPE_CHECKING:  # Django's form classes take no parameters where they run
    ProjectFormBase = forms.ModelForm[Project]
else:
    ProjectFormBase = forms.ModelForm


def in_words(most: float | None, unit: str) -> str:
    if most is None:
        return f"{unit} as the site’s settings say"
    return f"{most:,} {unit}" if most else f"{unit} without limit"


class QuotaForm(ProjectFormBase):
    """One of many on a page."""

    class Meta:
        model = Project
        fields = ("quota_gb", "quota_posts")

    def __init__(self, data: QueryDict | None, project: Project) -> None:
        super().__init__(data, instance=project, prefix=str(project.pk))
        self.told("quota_gb", settings.PROJECT_QUOTA_GB, step="any")
        self.told("quota_posts", settings.PROJECT_QUOTA_POSTS)

    def told(self, name: str, usual: float, **more: Any) -> None:
        """What a blank stands for is seen in it."""
        field = self.fields[name]
        field.help_text, placeholder = "", f"{usual:,g}" if usual else "no limit"
        field.widget.attrs |= {"placeholder": placeholder, "min": 0, **more}

    @transaction.atomic
    def save_as(self, by: User) -> Project:
        if self.changed_data:
            self.instance.save(update_fields=self.changed_data)
            Event.record(
                "quota changed", user=by, project=self.instance,
                room=in_words(self.instance.quota_gb, "GB"), posts=in_words(self.instance.quota_posts, "posts"),
            )  # fmt: skip
        return self.instance
