// Copy buttons of the page for mail users. Everything here is an extra: the page works without it.
(() => {
  "use strict";

  async function copy(button) {
    const source = document.getElementById(button.dataset.copyFrom);
    const text = source.textContent.trim().replace(/\s+/g, "");
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      getSelection().selectAllChildren(source);
      return;
    }
    const word = button.querySelector("[data-copy-word]");
    const before = word.textContent;
    word.textContent = button.dataset.copied;
    document.getElementById("live").textContent = button.dataset.copied;
    setTimeout(() => {
      word.textContent = before;
    }, 2000);
  }

  for (const button of document.querySelectorAll("[data-needs-js]")) button.hidden = false;
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-copy-from]");
    if (button) copy(button);
  });
})();
