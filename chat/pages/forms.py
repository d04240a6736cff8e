"""Forms for the chat. They check the shape of what people send; the rules do the rest."""

import base64

from django import forms

from chat import conversations, messages
from chat.files.portable import MAX_FILE_BYTES, TOO_LARGE

# The first bytes of each kind of file, because its name proves nothing.
_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif"}


class SeveralFiles(forms.ClearableFileInput):
    allow_multiple_selected = True


class ImagesField(forms.FileField):
    """Image files, cleaned to data URLs."""

    widget = SeveralFiles

    def clean(self, data, initial=None) -> list[str]:
        files = data or []
        if len(files) > messages.MAX_IMAGES:
            raise forms.ValidationError(f"A message has at most {messages.MAX_IMAGES} images.")
        return [_data_url(super(ImagesField, self).clean(file)) for file in files]


class MessageForm(forms.Form):
    text = forms.CharField(required=False, strip=False, widget=forms.Textarea)
    model = forms.CharField(required=False, max_length=96)
    images = ImagesField(required=False)


def _data_url(file) -> str:
    if file.size > messages.MAX_IMAGE_BYTES:
        raise forms.ValidationError(f"{file.name} is too large: at most 1.5 MB.")
    content = file.read()
    kind = _kind(content)
    if kind is None:
        raise forms.ValidationError(f"{file.name} is no PNG, JPEG, GIF or WebP image.")
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _kind(content: bytes) -> str | None:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    return next((kind for start, kind in _SIGNATURES.items() if content.startswith(start)), None)


class SettingsForm(forms.Form):
    """Settings for replies in one conversation. An empty field leaves it to the model."""

    system_prompt = forms.CharField(
        required=False,
        max_length=conversations.MAX_SYSTEM_PROMPT,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="Stands before every message: who the model is, how it should answer.",
    )
    temperature = forms.FloatField(
        required=False, min_value=0, max_value=2, help_text="0 is sober, 2 is wild."
    )
    top_p = forms.FloatField(
        required=False, min_value=0, max_value=1, label="Top p", help_text="0 to 1."
    )
    max_tokens = forms.IntegerField(
        required=False, min_value=1, label="Longest answer", help_text="In tokens."
    )

    def parameters(self) -> dict:
        return {name: self.cleaned_data[name] for name in conversations.PARAMETERS}


class RenameForm(forms.Form):
    title = forms.CharField(max_length=conversations.MAX_TITLE)


class ImportForm(forms.Form):
    file = forms.FileField(
        label="File",
        help_text="A conversation or all of them, as Kyma exports them: JSON or Markdown.",
    )

    def clean_file(self) -> bytes:
        file = self.cleaned_data["file"]
        if file.size > MAX_FILE_BYTES:  # Checked before the file is read.
            raise forms.ValidationError(TOO_LARGE)
        with file:  # It would be held until the page is answered.
            return file.read()
