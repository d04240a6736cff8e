// Improves the pages with JavaScript; all of them work without it.

// Times are shown in the visitor's zone: the server reads it from this cookie.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && !document.cookie.split("; ").includes(`timezone=${zone}`)) {
  document.cookie = `timezone=${zone}; path=/; max-age=31536000; samesite=lax`;
}

// <button data-copy="#id"> copies the text of that element, or selects it if copying isn't allowed.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]:not([data-copied])");
  if (!button) return;
  const source = document.querySelector(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.value ?? source.textContent);
  } catch {
    getSelection().selectAllChildren(source);
    return;
  }
  const label = [...button.childNodes];
  button.dataset.copied = "";
  button.textContent = "Copied";
  setTimeout(() => {
    button.replaceChildren(...label);
    delete button.dataset.copied;
  }, 1500);
});

// <form data-confirm="Really?">, or the button that submits it, asks before it is sent.
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

// A form that is being sent says so and can't be sent twice. This ends by itself, because a form
// that downloads a file leaves the page open.
addEventListener("submit", (event) => {
  const button = event.submitter;
  if (event.defaultPrevented || !button) return;
  if (button.ariaBusy) return event.preventDefault();
  button.ariaBusy = "true";
  setTimeout(() => button.ariaBusy = null, 8000);
});
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button[aria-busy]")) button.ariaBusy = null;
});

// After a refused form, the focus goes to the errors above its fields or to the first wrong field,
// whose description names the error.
const wrong = document.querySelector("main :is(.errorlist.nonfield, [aria-invalid=true])");
if (wrong?.matches(".errorlist")) wrong.tabIndex = -1;
wrong?.focus();

// A menu closes on Escape, and the focus returns to its button.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    menu.open = false;
  }
});
