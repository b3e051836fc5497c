from collections.abc import Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.forms import (
    AuthenticationForm,
    PasswordChangeForm,
    SetPasswordForm,
    UserCreationForm,
    UsernameField,
)
from django.db import transaction

from annotate.keys import ACTIONS, refused, wanted_keys
from annotate.models import ApiToken, Event, Role, User

STRONG = "At least 10 characters. Not a common password, and nothing like your name."


class LoginForm(AuthenticationForm):
    error_messages = {
        "invalid_login": "Username and password do not match. Capital letters matter in the password.",
        "inactive": "This account is switched off.",
    }


class NewAccountForm(UserCreationForm[User]):
    class Meta:
        model = User
        fields = ("username",)
        field_classes = {"username": UsernameField}
        help_texts = {"username": "What your colleagues see: letters, digits and . @ + - _"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        in_few_words(self, "password1", "password2")


class ProfileForm(forms.ModelForm[User]):
    class Meta:
        model = User
        fields = ("first_name", "last_name", "email")
        widgets = {
            "first_name": forms.TextInput(attrs={"autocomplete": "given-name"}),
            "last_name": forms.TextInput(attrs={"autocomplete": "family-name"}),
            "email": forms.EmailInput(attrs={"autocomplete": "email"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """An address that lets its owner in is not for oneself to choose."""
        super().__init__(*args, **kwargs)
        if settings.OIDC_LINK_BY_EMAIL:
            self.fields["email"].disabled = True
            self.fields["email"].help_text = f"With it {settings.OIDC_NAME} finds you. A site admin can change it."


def password_form(user: User, data: Any = None) -> "SetPasswordForm[User]":
    """Who came in through a link has no password that could be asked for."""
    kind = PasswordChangeForm if user.has_usable_password() else SetPasswordForm
    form: SetPasswordForm[User] = kind(user, data)
    in_few_words(form, "new_password1", "new_password2")
    for field in form.fields.values():
        field.widget.attrs.pop("autofocus", None)
    return form


def in_few_words(form: forms.BaseForm, once: str, again: str) -> None:
    """Django lists every rule before anybody broke one; the errors still say which it was."""
    form.fields[once].help_text = STRONG
    form.fields[again].label, form.fields[again].help_text = "The same again", ""


class ReviewKeysForm(forms.Form):
    """A field for each thing that a key does on the review screen; left blank it is the usual one."""

    def __init__(self, chosen: Mapping[str, str], data: Any = None) -> None:
        super().__init__(data, initial=wanted_keys(chosen), auto_id="key-%s")
        attrs = {"maxlength": 1, "size": 2, "autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}
        for action, (_, does) in ACTIONS.items():
            widget = forms.TextInput(attrs=attrs)
            self.fields[action] = forms.CharField(label=does, max_length=1, required=False, widget=widget)

    def told_keys(self) -> dict[str, str]:
        return {action: str(self.cleaned_data.get(action) or "").lower() for action in ACTIONS}

    def clean(self) -> None:
        if not self.errors:
            for action, fault in refused(self.told_keys()).items():
                self.add_error(action, fault)

    @property
    def chosen(self) -> dict[str, str]:
        """Those that differ from the usual ones."""
        return {action: key for action, key in self.told_keys().items() if key and key != ACTIONS[action][0]}


class TokenForm(forms.ModelForm[ApiToken]):
    class Meta:
        model = ApiToken
        fields = ("name",)
        help_texts = {"name": "The program or machine that will use it."}
        widgets = {"name": forms.TextInput(attrs={"autocomplete": "off"})}

    @transaction.atomic
    def issue(self, user: User) -> str:
        token, secret = ApiToken.issue(user, self.cleaned_data["name"])
        Event.record("token made", user=user, token=token.pk, name=token.name)
        return secret


class RoleForm(forms.Form):
    role = forms.TypedChoiceField(choices=Role.choices, coerce=Role, initial=Role.REVIEWER)


class InviteForm(RoleForm):
    note = forms.CharField(
        label="For whom",
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
