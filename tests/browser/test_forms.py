from tests.factories import make_user

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
