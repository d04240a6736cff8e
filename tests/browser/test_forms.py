import pytest
from playwright.sync_api import expect

from tests.support.factories import make_user

SUBMIT_TWICE = """button => {
  const form = button.form, sent = [];
  addEventListener("submit", event => {
    sent.push(!event.defaultPrevented);
    event.preventDefault();
  });
  form.requestSubmit(button);
  form.requestSubmit(button);
  return {sent, busy: button.ariaBusy};
}"""


def test_a_form_on_its_way_says_so_and_is_not_sent_twice(page, signed_in):
    signed_in(page, make_user()).goto("/keys/new")
    page.get_by_label("Name").fill("website")
    button = page.get_by_role("button", name="Make the key")
    assert button.evaluate(SUBMIT_TWICE) == {"sent": [True, False], "busy": "true"}
    page.evaluate("dispatchEvent(new Event('pageshow'))")  # The way back.
    assert button.get_attribute("aria-busy") is None


@pytest.mark.parametrize(
    ("address", "where"),
    [("nobody@example.org", "main .errorlist.nonfield"), ("", "main [name=login]")],
)
def test_a_form_that_comes_back_is_entered_where_it_says_what_is_wrong(page, address, where):
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(address)
    page.get_by_label("Password").fill("a wrong one")
    page.locator("main form").first.evaluate("form => { form.noValidate = true; }")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.locator(where)).to_be_focused()
