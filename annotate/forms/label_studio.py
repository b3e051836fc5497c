from django import forms

MOST = 100_000


class PushForm(forms.Form):
    limit = forms.IntegerField(
        label="At most",
        required=False,
        min_value=1,
        max_value=MOST,
        help_text="Posts; blank for all. First those that people here would be asked about first.",
        error_messages={
            "invalid": "Write a number of posts, or leave it blank for all.",
            "min_value": "Push one post at least, or leave it blank for all.",
            "max_value": f"Push at most {MOST:,} at once.",
        },
        widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
    )
