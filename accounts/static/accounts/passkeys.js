// Completes allauth's scripts: shows buttons only where passkeys work, and explains errors.

if (window.PublicKeyCredential) {
  for (const element of document.querySelectorAll("[data-passkeys]")) element.hidden = false;
}

document.addEventListener("allauth.error", (event) => {
  const place = document.querySelector("[data-passkey-error]");
  if (!place) return;
  event.preventDefault();
  const { exception } = event.detail;
  place.textContent = exception.name === "NotAllowedError"
    ? "That was cancelled, or took too long. Please try again."
    : `This passkey could not be used: ${exception.message}`;
  place.hidden = false;
});
