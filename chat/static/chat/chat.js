// What the chat does better with JavaScript: answers appear as they are written, Enter sends,
// pictures are made small. A saved chat works without; a temporary one lives here alone.

const composer = document.querySelector("#composer");
const box = document.querySelector("#text");
const thread = document.querySelector("#thread");
const stopForm = document.querySelector("#stop-form");
const isTemporary = composer?.hasAttribute("data-temporary") ?? false;
let isStreaming = false;

// --- Small things ---------------------------------------------------------------------------

function say(text) {
  document.querySelector("#status").textContent = text;
}

function complain(text, wantsCredit = false) {
  document.querySelector("#problem").hidden = !text;
  document.querySelector("#problem-text").textContent = text;
  document.querySelector("#problem-credit").hidden = !wantsCredit;
}

function setStreaming(streaming) {
  isStreaming = streaming;
  document.querySelector("#stop").hidden = !streaming;
  document.querySelector("#send").hidden = streaming;
  document.querySelector("#stop").disabled = false;
  document.querySelector("#send").disabled = false;
}

// Where a keyboard is at hand: on a phone it would cover the answer.
function focusBox() {
  if (matchMedia("(hover: hover)").matches) box?.focus({ preventScroll: true });
}

// The page follows what is written only while its reader is at the end of it.
const page = document.querySelector("main");
const distanceToEnd = () => page.getBoundingClientRect().bottom - window.innerHeight;
const scrollToEnd = () => window.scrollBy({ top: distanceToEnd(), behavior: "instant" });

function keepingTheEnd(change) {
  const wasAtEnd = distanceToEnd() < 60;
  change();
  if (wasAtEnd) scrollToEnd();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy-code]");
  if (button) {
    await navigator.clipboard.writeText(button.closest(".code").querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }
  for (const menu of document.querySelectorAll(".drop[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// --- An answer as it grows ------------------------------------------------------------------

// `update` holds the blocks that are finished since the last one, and the one that is open.
function grow(element, update, isFirst) {
  const [closed, open] = [element.querySelector(".closed"), element.querySelector(".open")];
  if (isFirst) closed.replaceChildren();
  if (update.closed) closed.insertAdjacentHTML("beforeend", update.closed);
  if (isFirst || open.innerHTML !== update.open) open.innerHTML = update.open;
}

function show(article, update) {
  keepingTheEnd(() => {
    const reasoning = article.querySelector(".reasoning");
    grow(article.querySelector(".answer"), update.text, update.first);
    grow(reasoning, update.reasoning, update.first);
    reasoning.hidden = !reasoning.querySelector(".closed, .open").parentElement.textContent.trim();
    if (update.state === "stopped") say("Stopped. What it cost is being counted.");
  });
}

// Puts the finished message in the place of the one that was streamed.
function finish(article, html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  const finished = holder.content.querySelector("article");
  keepingTheEnd(() => article.replaceWith(finished));
  const facts = finished.querySelector(".message-facts").textContent.replace(/\s+/g, " ");
  say(`The answer is complete: ${facts}`);
  setStreaming(false);
}

function follow(article) {
  setStreaming(true);
  say("The answer is being written.");
  const source = new EventSource(article.dataset.events);
  source.addEventListener("update", (event) => show(article, JSON.parse(event.data)));
  source.addEventListener("over", async () => {
    source.close();
    const response = await fetch(article.dataset.page);
    if (response.ok) finish(article, await response.text());
    else window.location.reload();
  });
  source.addEventListener("error", () => {
    // The browser connects anew by itself, unless the server refused: then there is nothing more.
    if (source.readyState !== EventSource.CLOSED) return;
    complain("This answer can’t be followed any more. Load the page anew.");
    setStreaming(false);
  });
}

// --- Stopping -------------------------------------------------------------------------------

async function post(address, body, headers = {}) {
  const token = composer.querySelector("[name=csrfmiddlewaretoken]").value;
  const accept = { "X-CSRFToken": token, Accept: "application/json", ...headers };
  return fetch(address, { method: "POST", headers: accept, body });
}

stopForm?.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!stopForm.action || !isStreaming) return;
  focusBox(); // Before the button that has it goes.
  document.querySelector("#stop").disabled = true;
  say("Stopping.");
  await post(stopForm.action);
});

// --- Writing --------------------------------------------------------------------------------

box?.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (isStreaming) say("The answer is still being written: wait for it, or stop it.");
  else composer.requestSubmit(document.querySelector("#send"));
});

composer?.addEventListener("submit", (event) => {
  if (isStreaming || (!box.value.trim() && !images?.files.length)) {
    event.preventDefault();
    return;
  }
  if (isTemporary) {
    event.preventDefault();
    sendTemporary();
  } else {
    document.querySelector("#send").disabled = true;
    say("Sending.");
  }
});

// A page that comes back from the browser's memory can be sent again.
window.addEventListener("pageshow", (event) => { if (event.persisted) window.location.reload(); });

if (box && !CSS.supports("field-sizing", "content")) {
  const fit = () => { box.style.height = "auto"; box.style.height = `${box.scrollHeight}px`; };
  box.addEventListener("input", fit);
  fit();
}

// --- The model, and images for one that sees them -------------------------------------------

const images = document.querySelector("#images");
const LONGEST_SIDE = 1568; // pixels; more is made smaller by the models themselves

function useModel() {
  const chosen = composer.querySelector("[name=model]:checked");
  document.querySelector("#model-name").textContent = chosen.dataset.name;
  const sees = chosen.dataset.vision === "yes";
  if (!images) return;
  document.querySelector("#attach").hidden = images.disabled = !sees;
  document.querySelector("#previews").hidden = !sees;
}

composer?.addEventListener("change", (event) => {
  if (event.target.name === "model") useModel();
  if (event.target === images) chooseImages();
});

// Drawn anew: small enough, and without the place where it was taken.
async function redrawn(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const keepsEdges = file.type === "image/png" && file.size < 500_000;
  const [type, ending] = keepsEdges ? ["image/png", "png"] : ["image/jpeg", "jpg"];
  const blob = await new Promise((done) => { canvas.toBlob(done, type, 0.85); });
  return new File([blob], `image.${ending}`, { type });
}

const dataUrl = (file) => new Promise((done) => {
  const reader = new FileReader();
  reader.addEventListener("load", () => done(reader.result));
  reader.readAsDataURL(file);
});

async function chooseImages() {
  const previews = document.querySelector("#previews");
  previews.replaceChildren();
  complain("");
  const kept = new DataTransfer();
  try {
    for (const file of images.files) kept.items.add(await redrawn(file));
  } catch {
    complain("That file is no image that can be read.");
  }
  images.files = kept.files;
  for (const [number, file] of [...kept.files].entries()) {
    previews.append(picture(await dataUrl(file), `Image ${number + 1} to be sent`));
  }
  box.focus();
}

function picture(address, text) {
  return Object.assign(document.createElement("img"), { src: address, alt: text });
}

// --- A chat that is stored nowhere ----------------------------------------------------------

const said = [];

function fromTemplate(id) {
  return document.querySelector(id).content.firstElementChild.cloneNode(true);
}

function showSaid({ text, images: pictures }) {
  const article = fromTemplate("#said");
  article.querySelector(".said").textContent = text;
  article.querySelector(".images").append(...pictures.map((one) => picture(one, "Image that you sent")));
  thread.append(article);
  return article;
}

function settings() {
  const sent = new FormData(document.querySelector("#temporary-settings"));
  const names = ["temperature", "top_p", "max_tokens"].filter((name) => sent.get(name));
  return {
    model: new FormData(composer).get("model"),
    system_prompt: sent.get("system_prompt"),
    parameters: Object.fromEntries(names.map((name) => [name, Number(sent.get(name))])),
  };
}

async function sendTemporary() {
  complain("");
  setStreaming(true);
  const files = images && !images.disabled ? [...images.files] : [];
  const message = { role: "user", text: box.value, images: await Promise.all(files.map(dataUrl)) };
  const body = JSON.stringify({ ...settings(), messages: [...said, message] });
  const response = await post(composer.action, body, { "Content-Type": "application/json" })
    .catch(() => null);
  if (!response?.ok) {
    setStreaming(false);
    await refuse(response);
    return;
  }
  const mine = showSaid(message);
  const article = fromTemplate("#answer");
  thread.append(article);
  box.value = "";
  if (images) { images.value = ""; document.querySelector("#previews").replaceChildren(); }
  scrollToEnd();
  say("The answer is being written.");
  await readAnswer(response, article, message).catch(() => {
    complain("The connection broke, and with it the answer.");
    article.remove();
    mine.remove();
    box.value = message.text;
    setStreaming(false);
  });
}

async function refuse(response) {
  const isOurs = response?.headers.get("Content-Type")?.startsWith("application/json");
  const answer = isOurs ? await response.json() : null;
  const text = response?.status === 400 || response?.status === 413
    ? "That is too large to be sent." : "Kyma can’t be reached. Try again.";
  complain(answer?.message ?? text, answer?.code === "insufficient_credits");
}

async function readAnswer(response, article, message) {
  for await (const [name, content] of eventsOf(response)) {
    if (name === "update") {
      stopForm.action = composer.dataset.stop.replace(composer.dataset.stopId, content.id);
      show(article, content);
    } else if (name === "over") {
      finish(article, content.html);
      if (content.text) said.push(message, { role: "assistant", text: content.text });
      return;
    }
  }
  throw new Error("ended early");
}

async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const match = /^event: (\w+)\ndata: (.*)$/.exec(part);
      if (match) yield [match[1], JSON.parse(match[2])];
    }
  }
}

if (isTemporary) {
  window.addEventListener("beforeunload", (event) => { if (thread.children.length) event.preventDefault(); });
}

// --- At the start ---------------------------------------------------------------------------

if (composer) useModel();
if (thread && !isTemporary) {
  const [how] = performance.getEntriesByType("navigation");
  const unfinished = thread.querySelector("[data-events]");
  const isNew = how?.type === "navigate" && (!location.hash || location.hash === "#end");
  if (unfinished || isNew) scrollToEnd();
  if (unfinished) follow(unfinished);
  if (isNew) {
    focusBox();
    // To go to #end takes the focus away again, later than this.
    window.addEventListener("load", () => requestAnimationFrame(focusBox), { once: true });
  }
}
