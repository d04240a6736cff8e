from django import forms


class ProviderPolicyForm(forms.Form):
    allows_unstated_retention = forms.BooleanField(
        required=False,
        label="Use providers that don't state how long they keep what they are sent",
    )
