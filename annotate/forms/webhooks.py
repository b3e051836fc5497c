from typing import Any

from django import forms

from annotate.models import Project, User, Webhook
from annotate.webhooks import keeping, kinds

USUAL = ["voting", "budget", "queue", "training", "evaluation", "round"]


class KindsForm(forms.Form):
    note = forms.CharField(
        max_length=120, required=False, label="What it is for", widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    kinds = forms.MultipleChoiceField(
        choices=list(kinds.KINDS.items()), label="What it is told of", widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one thing that it is told of."},
    )  # fmt: skip


class WebhookForm(KindsForm):
    address = forms.CharField(
        max_length=500, label="Address", help_text="It is sent a POST with JSON, signed.",
        widget=forms.URLInput(attrs={"placeholder": "https://", "autocomplete": "off"}),
    )  # fmt: skip
    private = forms.BooleanField(
        required=False, label="It is inside our own network",
        help_text="Only site admins may have such an address called.",
    )  # fmt: skip
    field_order = ["address", "private", "note", "kinds"]

    def __init__(self, project: Project, by: User, data: Any = None) -> None:
        super().__init__(data, initial={"kinds": USUAL})
        self.project, self.by = project, by
        if not by.is_superuser:
            del self.fields["private"]

    def clean(self) -> dict[str, Any]:
        """Made here, so that what the capability refuses is told beside the fields."""
        given = self.cleaned_data
        if not self.errors:
            try:
                self.made = keeping.add(
                    self.project, self.by, given["address"], given["kinds"], given["note"],
                    private=given.get("private", False),
                )  # fmt: skip
            except keeping.Refused as refusal:
                self.add_error("address", str(refusal))
        return given


class ChangeWebhookForm(KindsForm):
    def __init__(self, webhook: Webhook, data: Any = None) -> None:
        super().__init__(data, initial={"kinds": webhook.kinds, "note": webhook.note})
        self.webhook = webhook

    def save(self, by: User) -> None:
        keeping.change(self.webhook, by, self.cleaned_data["kinds"], self.cleaned_data["note"])
