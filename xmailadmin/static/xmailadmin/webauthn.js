// Tells what went wrong with a security key; allauth's scripts do the rest.
(() => {
  "use strict";

  const place = document.getElementById("webauthn-error");
  if (!place) return;

  function tell(text) {
    place.textContent = text;
    place.hidden = false;
  }

  document.addEventListener("allauth.error", (event) => {
    event.preventDefault();
    tell(place.dataset.cancelled);
  });
  if (!window.PublicKeyCredential) tell(place.dataset.unsupported);
})();
