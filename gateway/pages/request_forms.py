"""The search form of the request log."""

from django import forms

from accounts.models import ApiKey, User
from gateway.analytics.periods import DAY, midnight
from gateway.models import Model, Provider
from gateway.pages.request_search import Search, Status
from gateway.pages.usage_form import NO_SUCH_STATUS, DayField, KeyField


class KeyChoice(KeyField):
    def label_from_instance(self, key: ApiKey) -> str:
        ended = " (revoked)" if key.revoked_at else ""
        return f"{key.name} {key.start}…{key.end}{ended}"


class SearchForm(forms.Form):
    """The form of a search. Days are in the reader's time zone. A valid form has `search`."""

    since = DayField("From")
    until = DayField("To")
    key = KeyChoice(ApiKey.objects.none(), required=False, empty_label="all")
    model = forms.ChoiceField(
        required=False,
        error_messages={"invalid_choice": "There is no such model: choose one of the list."},
    )
    provider = forms.ChoiceField(
        required=False,
        error_messages={"invalid_choice": "There is no such provider: choose one of the list."},
    )
    status = forms.ChoiceField(
        required=False,
        choices=[("", "all"), *Status.choices],
        error_messages={"invalid_choice": NO_SUCH_STATUS},
    )
    session = forms.CharField(required=False, max_length=512)

    def __init__(self, *arguments, user: User, **options):
        options.setdefault("label_suffix", "")
        super().__init__(*arguments, **options)
        key = self.fields["key"]
        assert isinstance(key, KeyChoice)
        key.queryset = ApiKey.objects.filter(user=user).order_by("-created_at")
        for name, rows in (("model", Model.objects), ("provider", Provider.objects)):
            choice = self.fields[name]
            assert isinstance(choice, forms.ChoiceField)
            slugs = rows.order_by("slug").values_list("slug", flat=True)
            choice.choices = [("", "all"), *((slug, slug) for slug in slugs)]

    @property
    def search(self) -> Search:
        said = self.cleaned_data
        since, until = said["since"], said["until"]
        return Search(
            since=since and midnight(since),
            until=until and midnight(until + DAY),
            key_id=said["key"] and said["key"].id,
            model=said["model"],
            provider=said["provider"],
            status=said["status"],
            session=said["session"],
        )
