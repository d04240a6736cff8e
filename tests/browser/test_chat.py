"""The chat as a person has it: an answer that appears word by word, and all that's done with it."""

import re

import pytest
from playwright.sync_api import expect

from chat import conversations
from chat.models import Conversation, Message
from gateway.models import Model
from tests.gateway.conftest import live_route, scripted
from tests.support.browser.accessibility import axe
from tests.support.chat.writing import talk
from tests.support.factories import make_account, make_user
from tests.support.live import USD, eventually
from tests.support.provider.scripts import (
    Done,
    End,
    Event,
    Head,
    WaitFor,
    chunk,
    stream,
    usage_chunk,
    usage_of,
)

__all__ = ["scripted"]

PHONE = {"width": 360, "height": 740}


@pytest.fixture
def person(scripted):
    user = make_user()
    make_account(user, balance_nano=USD, unlimited=True)
    return user


@pytest.fixture
def chat(page, signed_in, person):
    """The page of a new chat."""
    signed_in(page, person).goto("/chat")
    return page


def held_up(fake) -> str:
    """A prompt whose answer stops after its first word until the test lets it go on."""
    end = [Event(chunk({}, finish_reason="stop")), Event(usage_chunk(usage_of(10, 2)))]
    hello, there = Event(chunk({"content": "Hello "})), Event(chunk({"content": "**there**."}))
    return fake.script([Head(), hello, WaitFor("the rest"), there, *end, Done(), End()])


def say(page, text: str) -> None:
    page.get_by_label("Your message", exact=True).fill(text)
    page.keyboard.press("Enter")


def answer_of(page):
    return page.locator(".message.assistant").last


def test_an_answer_appears_as_it_is_written_and_a_reload_loses_nothing(chat, fake):
    prompt = held_up(fake)
    say(chat, prompt)
    expect(answer_of(chat).locator(".answer")).to_have_text("Hello")
    chat.reload()
    expect(answer_of(chat).locator(".answer")).to_have_text("Hello")
    expect(chat.get_by_role("button", name="Stop")).to_be_visible()
    fake.go(prompt, "the rest")
    expect(answer_of(chat).locator("strong")).to_have_text("there")
    expect(answer_of(chat)).to_contain_text("10 tokens in, 2 out")
    expect(answer_of(chat)).to_contain_text("$0.0000018")
    expect(chat.get_by_role("button", name="Send", exact=True)).to_be_visible()
    expect(chat.get_by_role("status")).to_contain_text("The answer is complete")
    assert axe(chat) == []


def test_stop_keeps_what_has_come_and_says_what_it_cost(chat, fake):
    prompt = held_up(fake)
    say(chat, prompt)
    expect(answer_of(chat).locator(".answer")).to_have_text("Hello")
    chat.get_by_role("button", name="Stop").click()
    expect(answer_of(chat)).to_contain_text("Stopped")
    expect(answer_of(chat)).to_contain_text("$0.00")
    expect(answer_of(chat).locator(".answer")).to_have_text("Hello")
    expect(chat.get_by_label("Your message", exact=True)).to_be_focused()


def test_what_one_said_can_be_said_otherwise_and_both_stay(chat, fake):
    first, second = fake.script(stream("The first answer.")), fake.script(stream("The second."))
    say(chat, first)
    expect(answer_of(chat)).to_contain_text("The first answer.")
    chat.get_by_text("Edit", exact=True).click()
    chat.get_by_label("Your message, otherwise").fill(second)
    chat.get_by_role("button", name="Send again").click()
    expect(answer_of(chat)).to_contain_text("The second.")
    expect(chat.get_by_text("2/2")).to_be_visible()
    chat.get_by_role("button", name="The version before").click()
    expect(answer_of(chat)).to_contain_text("The first answer.")


def test_an_answer_is_written_once_more(chat, fake):
    say(chat, fake.script(stream("An answer.")))
    expect(answer_of(chat)).to_contain_text("An answer.")
    chat.get_by_role("button", name="Regenerate").click()
    expect(chat.get_by_text("2/2")).to_be_visible()
    expect(answer_of(chat)).to_contain_text("tokens in")


def test_what_one_said_is_asked_of_the_model_that_is_picked_now(chat, fake):
    live_route("another", fake.base_url)
    say(chat, fake.script(stream("The first answer.")))
    expect(answer_of(chat)).to_contain_text("tokens in")
    chat.reload()  # To see the other model.
    chat.locator(".picker summary").click()
    chat.get_by_label("another").check()
    chat.get_by_role("button", name="Regenerate").click()
    expect(chat.get_by_text("2/2")).to_be_visible()
    expect(answer_of(chat).locator(".message-facts")).to_contain_text("another")


def test_a_draft_stays_in_the_box_until_kyma_has_it(chat, fake):
    chat.route("**/chat/start", lambda route: route.abort())
    with chat.watch.allowing("chat/start|ERR_FAILED"):
        box = chat.get_by_label("Your message", exact=True)
        box.fill(draft := fake.script(stream("Here you are.")))
        chat.get_by_role("button", name="Send", exact=True).click()
        expect(chat.get_by_role("alert")).to_contain_text("nothing was sent")
    expect(box).to_have_value(draft)
    expect(box).to_be_focused()
    chat.unroute("**/chat/start")
    chat.keyboard.press("Enter")
    expect(answer_of(chat)).to_contain_text("Here you are.")


def test_a_refusal_shows_the_link_that_leads_out_of_it(chat):
    refusal = {"code": "chats_full", "message": "Your chats are full."}
    chat.route("**/chat/start", lambda route: route.fulfill(status=422, json=refusal))
    with chat.watch.allowing("422"):
        say(chat, "My draft")
        alert = chat.get_by_role("alert")
        expect(alert).to_contain_text("Your chats are full.")
    expect(alert.get_by_role("link")).to_have_text(["All chats"])
    expect(chat.get_by_label("Your message", exact=True)).to_have_value("My draft")


def test_what_is_wrong_with_a_parameter_stays_in_sight(page, signed_in, person):
    conversation = talk(person, "Hello", "Hi\n\n" * 60)
    signed_in(page, person).goto(f"/chat/{conversation.id}")
    page.locator(".talk-settings summary").click()
    page.get_by_label("Temperature").fill("9")
    page.locator(".talk-settings form").evaluate("form => { form.noValidate = true; }")
    with page.watch.allowing("422"):
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_label("Temperature")).to_be_focused()
    expect(page.get_by_label("Temperature")).to_be_in_viewport()


def test_a_connection_that_breaks_is_told_and_the_answer_goes_on(chat, fake):
    prompt, refused = held_up(fake), []

    def refuse(route):
        refused.append(route.request.url)
        route.fulfill(status=502)

    chat.route("**/events", refuse)
    with chat.watch.allowing("502|events"):
        say(chat, prompt)
        expect(chat.get_by_role("alert")).to_contain_text("The connection is lost.")
        chat.unroute("**/events")
        expect(answer_of(chat).locator(".answer")).to_have_text("Hello")
    expect(chat.get_by_role("alert")).to_be_hidden()
    fake.go(prompt, "the rest")
    expect(answer_of(chat)).to_contain_text("10 tokens in, 2 out")
    assert refused


def test_a_chat_that_is_deleted_elsewhere_ends_here_too(chat, fake, person):
    say(chat, held_up(fake))
    expect(answer_of(chat).locator(".answer")).to_have_text("Hello")
    conversations.delete(person, ids=Conversation.objects.values_list("id", flat=True))
    with chat.watch.allowing("404"):
        expect(chat.get_by_role("heading", level=1)).to_have_text(
            "There is nothing at this address"
        )


def test_a_chat_is_deleted_once_one_has_said_so(page, signed_in, person):
    conversation = talk(person, "Hello", "Hi", title="Whales")
    signed_in(page, person).goto(f"/chat/{conversation.id}")
    page.get_by_text("Manage").click()
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Delete this chat").click()
    assert Conversation.objects.filter(pk=conversation.pk).exists()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete this chat").click()
    expect(page.get_by_text("Deleted, with every message in it.")).to_be_visible()
    assert not Message.objects.filter(conversation=conversation.pk).exists()


def test_all_chats_are_ticked_at_once_and_deleted(page, signed_in, person):
    for number in range(3):
        talk(person, "Hello", title=f"Chat {number}")
    signed_in(page, person).goto("/chat/all")
    page.get_by_label("Tick all on this page").check()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete the ticked").click()
    expect(page.get_by_text("Deleted 3 conversations")).to_be_visible()
    assert not Message.objects.filter(conversation__user=person).exists()


def test_the_picker_gives_the_focus_back(chat):
    picker = chat.locator(".picker summary")
    picker.press("Enter")
    chat.get_by_label("scripted").focus()
    chat.keyboard.press("Escape")
    expect(picker).to_be_focused()


def test_a_temporary_chat_answers_remembers_and_stores_nothing(page, signed_in, person, fake):
    prompt = held_up(fake)
    signed_in(page, person).goto("/chat/temporary")
    say(page, prompt)
    expect(answer_of(page).locator(".answer")).to_have_text("Hello")
    fake.go(prompt, "the rest")
    expect(answer_of(page)).to_contain_text("10 tokens in, 2 out")
    follow_up = fake.script(stream("I remember."))
    say(page, follow_up)
    expect(answer_of(page)).to_contain_text("I remember.")
    sent = fake.calls(follow_up)[-1].json["messages"]
    assert [one["content"] for one in sent] == [prompt, "Hello **there**.", follow_up]
    assert not Conversation.objects.filter(user=person).exists()
    page.on("dialog", lambda dialog: dialog.accept())  # Leaving loses it.


def test_a_temporary_answer_is_stopped_and_paid_for(page, signed_in, person, fake):
    prompt = held_up(fake)
    signed_in(page, person).goto("/chat/temporary")
    say(page, prompt)
    expect(answer_of(page).locator(".answer")).to_have_text("Hello")
    page.get_by_role("button", name="Stop").click()
    expect(answer_of(page)).to_contain_text("Stopped")
    expect(answer_of(page)).to_contain_text("$0.00")


def test_what_a_temporary_chat_failed_to_answer_can_be_sent_again(page, signed_in, person, fake):
    signed_in(page, person).goto("/chat/temporary")
    say(page, prompt := fake.script([Head(), End()]))
    why = answer_of(page).locator(".notice")
    expect(why).to_be_visible()
    expect(page.locator("#status")).to_have_text(why.inner_text())
    box = page.get_by_label("Your message", exact=True)
    expect(box).to_have_value(prompt)
    expect(box).to_be_focused()
    page.on("dialog", lambda dialog: dialog.accept())  # Leaving loses it.


def test_enter_sends_and_shift_enter_begins_a_line(chat, fake):
    box = chat.get_by_label("Your message", exact=True)
    expect(box).to_be_focused()
    chat.keyboard.type("One")
    chat.keyboard.press("Shift+Enter")
    chat.keyboard.type(fake.script(stream("Two lines.")))
    expect(box).to_have_value(re.compile("One\n.+"))
    chat.keyboard.press("Enter")
    expect(answer_of(chat)).to_contain_text("Two lines.")
    expect(chat.locator(".said")).to_contain_text("One")


def test_code_is_copied_to_the_letter(open_page, signed_in, person):
    code = "if a < b:\n    print('<b>')\n"
    conversation = talk(person, "Code?", f"```python\n{code}```")
    page = signed_in(open_page(permissions=["clipboard-read", "clipboard-write"]), person)
    page.goto(f"/chat/{conversation.id}")
    page.locator("[data-copy-code]").click()
    expect(page.locator("[data-copy-code]")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == code


def test_on_a_phone_the_chats_open_over_the_page(open_page, signed_in, person):
    talk(person, "Hello", "Hi", title="Whales")
    page = signed_in(open_page(viewport=PHONE), person)
    page.goto("/chat")
    link = page.get_by_role("link", name="Whales")
    expect(link).to_be_hidden()
    page.get_by_role("button", name="Your chats").click()
    assert axe(page) == []
    link.click()
    expect(page.get_by_role("heading", name="Whales", exact=True)).to_be_visible()


@pytest.fixture
def seeing(fake, person) -> str:
    """The name of a model that sees images, beside one that doesn't."""
    route = live_route("sees/images", fake.base_url)
    models = Model.objects.filter(pk=route.model_id)
    models.update(capabilities=["vision"], enabled=True)
    yield route.model.name
    models.update(enabled=False)


def test_images_are_offered_where_the_chosen_model_sees_them(page, signed_in, person, seeing):
    signed_in(page, person)
    images = page.locator("#images")
    eventually(lambda: page.goto("/chat") and images.count())
    page.locator("#model-name").click()
    page.get_by_role("radio", name=seeing).check()
    expect(images).to_be_enabled()
    assert axe(page) == []
    page.get_by_role("radio", name="scripted").check()
    expect(images).to_be_hidden()
    assert axe(page) == []


def test_without_javascript_a_chat_works_too(open_page, signed_in, person, fake):
    prompt = held_up(fake)
    page = signed_in(open_page(java_script_enabled=False), person)
    page.goto("/chat")
    page.get_by_label("Your message", exact=True).fill(prompt)
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    fake.go(prompt, "the rest")
    replies = Message.objects.filter(conversation__user=person, role=Message.Role.ASSISTANT)
    eventually(lambda: replies.get().is_over)
    page.reload()  # By itself it would too: Playwright's way of doing without shows no <noscript>.
    expect(answer_of(page)).to_contain_text("10 tokens in, 2 out")
