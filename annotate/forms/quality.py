from django import forms

MOST = 20_000  # more than people look at before machines have learnt from it


class RiskiestForm(forms.Form):
    posts = forms.IntegerField(
        label="How many posts",
        min_value=1,
        max_value=MOST,
        initial=400,
        error_messages={
            "min_value": "Ask for at least one post.",
            "max_value": f"Ask for at most {MOST:,}; the next ones are better found when these have been looked at.",
        },
        widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
    )
