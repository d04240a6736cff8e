// Improves the chat with JavaScript: answers appear as they are written, Enter sends, pictures are
// made small. A stored chat works without it; a temporary chat exists only here.

const composer = document.querySelector("#composer");
const box = document.querySelector("#text");
const thread = document.querySelector("#thread");
const stopForm = document.querySelector("#stop-form");
const isTemporary = composer?.hasAttribute("data-temporary") ?? false;
let isStreaming = false;
let isSending = false;

// --- Small things ---------------------------------------------------------------------------

function say(text) {
  document.querySelector("#status").textContent = text;
}

// The code of a refusal selects the link that helps with it.
function complain(text, code = "") {
  document.querySelector("#problem").hidden = !text;
  document.querySelector("#problem-text").textContent = text;
  for (const link of document.querySelectorAll("#problem a")) link.hidden = link.dataset.code !== code;
}

function setStreaming(streaming) {
  isStreaming = streaming;
  document.querySelector("#stop").hidden = !streaming;
  document.querySelector("#send").hidden = streaming;
  document.querySelector("#stop").disabled = false;
  document.querySelector("#send").disabled = false;
}

// Only where there is a real keyboard: on a phone, the screen keyboard would cover the answer.
function focusBox() {
  if (matchMedia("(hover: hover)").matches) box?.focus({ preventScroll: true });
}

// The page scrolls with the answer only while its reader is at the end.
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

// `update` holds the blocks finished since the last update, and the block that is open.
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

// Replaces the streamed message by the finished one.
function finish(article, html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  const finished = holder.content.querySelector("article");
  keepingTheEnd(() => article.replaceWith(finished));
  const [trouble, facts] = [".notice", ".message-facts"]
    .map((part) => finished.querySelector(part)?.textContent.replace(/\s+/g, " ").trim());
  say(trouble ?? `The answer is complete: ${facts}`);
  setStreaming(false);
}

const RETRY_MS = 3000;
const LOST = "The connection is lost. The answer goes on without it, and is shown as soon as it is back.";

function setLost(isLost) {
  const isSaid = document.querySelector("#problem-text").textContent === LOST;
  if (isLost !== isSaid) complain(isLost ? LOST : "");
}

function follow(article) {
  setStreaming(true);
  say("The answer is being written.");
  const source = new EventSource(article.dataset.events);
  source.addEventListener("open", () => setLost(false));
  source.addEventListener("update", (event) => show(article, JSON.parse(event.data)));
  source.addEventListener("over", () => {
    source.close();
    fetchFinished(article);
  });
  source.addEventListener("error", () => {
    setLost(true);
    // The browser reconnects by itself, unless something on the way has refused.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => followAnew(article), RETRY_MS);
  });
}

// Fetches the message. The page reloads if the person was signed out or has deleted the chat.
async function fetchMessage(article) {
  const response = await fetch(article.dataset.page).catch(() => null);
  if (response?.redirected || [403, 404].includes(response?.status)) window.location.reload();
  return response?.ok && !response.redirected ? response.text() : null;
}

async function followAnew(article) {
  if (await fetchMessage(article)) follow(article);
  else setTimeout(() => followAnew(article), RETRY_MS);
}

async function fetchFinished(article) {
  const html = await fetchMessage(article);
  setLost(!html);
  if (html) finish(article, html);
  else setTimeout(() => followAnew(article), RETRY_MS);
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
  const response = await post(stopForm.action).catch(() => null);
  if (response?.ok) return;
  complain("Kyma can’t be reached, so the answer goes on. Try again.");
  document.querySelector("#stop").disabled = false;
});

// --- Writing --------------------------------------------------------------------------------

box?.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (isStreaming) say("The answer is still being written: wait for it, or stop it.");
  else composer.requestSubmit(document.querySelector("#send"));
});

composer?.addEventListener("submit", (event) => {
  event.preventDefault();
  if (isStreaming || isSending || (!box.value.trim() && !images?.files.length)) return;
  focusBox(); // Before the button that has it goes.
  if (isTemporary) sendTemporary();
  else send(composer);
});

// Submits an edit, or asks for another answer.
thread?.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-asks]")) return;
  event.preventDefault();
  if (!isStreaming && !isSending) send(event.target);
  else say("The answer is still being written: wait for it, or stop it.");
});

// The text stays in the page until Kyma has it.
async function send(form) {
  isSending = true;
  complain("");
  say("Sending.");
  document.querySelector("#send").disabled = true;
  const body = new FormData(form);
  if (!body.has("model")) body.set("model", new FormData(composer).get("model"));
  const response = await post(form.action, body).catch(() => null);
  if (response?.ok && !response.redirected) {
    if (form === composer) box.value = "";
    go(new URL((await response.json()).location, window.location));
    return;
  }
  isSending = false;
  document.querySelector("#send").disabled = false;
  await refuse(response);
}

function go(address) {
  if (address.pathname !== window.location.pathname) {
    window.location.assign(address);
    return;
  }
  history.replaceState(null, "", address);
  history.scrollRestoration = "manual";
  window.location.reload();
}

// A page restored from the browser's memory still counts as sending: reload it.
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
  document.querySelector("#attach").hidden = images.hidden = images.disabled = !sees;
  document.querySelector("#previews").hidden = !sees;
}

composer?.addEventListener("change", (event) => {
  if (event.target.name === "model") useModel();
  if (event.target === images) chooseImages();
});

// Draws the picture again: small enough, and without the place where it was taken.
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
  complain(answer?.message ?? whyNot(response), answer?.code);
  document.querySelector("#problem").scrollIntoView({ block: "nearest" });
}

function whyNot(response) {
  if (!response) return "Kyma can’t be reached, so nothing was sent. Try again.";
  if (response.redirected || response.status === 403) {
    return "Kyma doesn’t know you any more. Copy what you wrote, load the page anew, and sign in.";
  }
  if ([400, 413].includes(response.status)) return "That is too large to be sent.";
  if (response.status === 404) return "This chat was deleted.";
  return "Something failed, and nothing was sent. Try again.";
}

async function readAnswer(response, article, message) {
  for await (const [name, content] of eventsOf(response)) {
    if (name === "update") {
      stopForm.action = composer.dataset.stop.replace(composer.dataset.stopId, content.id);
      show(article, content);
    } else if (name === "over") {
      finish(article, content.html);
      if (content.text) said.push(message, { role: "assistant", text: content.text });
      else box.value ||= message.text; // Nothing came of it: it can be sent again.
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

// --- All chats ------------------------------------------------------------------------------

const tickAll = document.querySelector("#tick-all");
if (tickAll) tickAll.hidden = false;
tickAll?.addEventListener("change", (event) => {
  for (const tick of document.querySelectorAll(".ticks [name=ids]")) tick.checked = event.target.checked;
});

// --- At the start ---------------------------------------------------------------------------

if (composer) useModel();
if (thread && !isTemporary) {
  const [how] = performance.getEntriesByType("navigation");
  const unfinished = thread.querySelector("[data-events]");
  const isRefused = document.querySelector(".messages .error, main [aria-invalid=true]");
  const isNew = how?.type === "navigate" && !isRefused && ["", "#end"].includes(location.hash);
  if (unfinished || isNew) scrollToEnd();
  if (unfinished) follow(unfinished);
  if (isNew) {
    focusBox();
    // Later, because going to #end takes the focus away.
    window.addEventListener("load", () => requestAnimationFrame(focusBox), { once: true });
  }
}
