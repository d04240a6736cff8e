"""A person without a mouse: moves by Tab, and must see at each step where they are."""

from playwright.sync_api import Locator, Page

MOST_STEPS = 150
PARTS = 8  # of a field for dates: each has the focus in turn
# What has the focus, where it is, and whether one sees it: by an outline around it, around its
# label before it, or around what it is a part of.
FOCUS = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const box = one.getBoundingClientRect();
  const outlined = (other) => {
    const style = getComputedStyle(other);
    return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  };
  const around = [one, one.previousElementSibling];
  for (let other = one.parentElement; other; other = other.parentElement) around.push(other);
  window.visited ??= [];
  let number = window.visited.indexOf(one);
  if (number < 0) number = window.visited.push(one) - 1;
  return {
    number,
    name: one.outerHTML.slice(0, 120),
    marked: around.some((other) => other && outlined(other)),
    shown: box.width > 0 && box.height > 0 && box.right > 0 && box.left < innerWidth
      && box.bottom > 0 && box.top < innerHeight,
  };
}"""


class Keyboard:
    def __init__(self, page: Page):
        self.page = page

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def step(self, key: str = "Tab") -> dict | None:
        """Where the focus is after `key`; None when it has left the page."""
        self.page.keyboard.press(key)
        focus = self.page.evaluate(FOCUS)
        if focus:
            assert focus["marked"], f"nobody sees that the focus is on {focus['name']}"
            assert focus["shown"], f"the focus is on what isn't on the screen: {focus['name']}"
        return focus

    def go_to(self, target: Locator, key: str = "Tab") -> None:
        """On by `key`, until `target` has the focus."""
        passed = []
        for _ in range(MOST_STEPS):
            if target.evaluate("one => one === document.activeElement"):
                return
            focus = self.step(key)
            passed.append(focus and focus["name"])
        raise AssertionError(f"{target} can't be reached by {key}; passed {passed}")

    def follow(self, target: Locator, key: str = "Enter") -> None:
        self.go_to(target)
        self.press(key)

    def walk(self, key: str = "Tab") -> list[int]:
        """From where the focus is to the end of the page: the numbers of all that has it in turn.

        A field for dates has it several times, part by part.
        """
        passed = [self.page.evaluate(FOCUS)["number"]]
        while len(passed) < MOST_STEPS:
            focus = self.step(key)
            if focus is None or (focus["number"] == passed[0] != passed[-1]):
                return passed
            number = focus["number"]
            is_part = passed[-1] == number and passed[-PARTS:] != [number] * PARTS
            assert is_part or number not in passed, f"a trap: {focus['name']}"
            passed.append(number)
        raise AssertionError(f"no end after {MOST_STEPS} steps")
