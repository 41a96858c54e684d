// What the pages do beyond plain HTML. Everything here is an extra: each page works without it.
(() => {
  "use strict";

  const root = document.documentElement;

  // The viewer's time zone, for the server to show times in. -------------------------------------
  function cookie(name) {
    const found = document.cookie.split("; ").find((part) => part.startsWith(`${name}=`));
    return found ? found.slice(name.length + 1) : "";
  }

  function rememberTimeZone() {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
    if (!/^[A-Za-z0-9_+\-/]+$/.test(zone) || cookie("tz") === zone) return;
    const secure = location.protocol === "https:" ? ";Secure" : "";
    document.cookie = `tz=${zone};Path=/;Max-Age=31536000;SameSite=Lax${secure}`;
    let reloaded = true;
    try {
      reloaded = sessionStorage.getItem("tz-reload") === zone;
      sessionStorage.setItem("tz-reload", zone);
    } catch {
      // Without storage a reload could repeat for ever, so there is none.
    }
    const shown = document.querySelector("time") !== null;
    if (!reloaded && shown && root.dataset.method === "GET" && cookie("tz") === zone) location.reload();
  }

  // Theme: light, dark, or like the system. --------------------------------------------------------
  const themes = ["auto", "light", "dark"];
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");

  function showTheme() {
    const theme = root.dataset.theme || "auto";
    const dark = theme === "dark" || (theme === "auto" && prefersDark.matches);
    root.dataset.bsTheme = dark ? "dark" : "light";
    for (const word of document.querySelectorAll("[data-theme-word]")) {
      word.hidden = word.dataset.themeWord !== theme;
    }
    for (const choice of document.querySelectorAll("input[data-theme-choice]")) {
      choice.checked = choice.value === theme;
    }
  }

  function setTheme(theme) {
    root.dataset.theme = theme;
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // The choice then lasts for this page only.
    }
    showTheme();
  }

  // Copying. -----------------------------------------------------------------------------------
  function announce(text) {
    const live = document.getElementById("live");
    if (live && text && live.textContent !== text) live.textContent = text;
  }

  async function copy(button) {
    const source = button.dataset.copyFrom ? document.getElementById(button.dataset.copyFrom) : null;
    let text = source ? source.textContent.trim() : button.dataset.copy || "";
    if (source && source.matches(".fingerprint")) text = text.replace(/\s+/g, "");
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      if (source) getSelection().selectAllChildren(source);
      return;
    }
    const word = button.querySelector("[data-copy-word]");
    const before = word.textContent;
    word.textContent = button.dataset.copied;
    button.setAttribute("data-copied-now", "");
    announce(button.dataset.copied);
    setTimeout(() => {
      word.textContent = before;
      button.removeAttribute("data-copied-now");
    }, 2000);
  }

  // Choosing hosts: all, none, and how many. ----------------------------------------------------
  function countChosen(group) {
    const boxes = [...group.querySelectorAll("[data-choice]")].filter((box) => !box.disabled);
    const chosen = boxes.filter((box) => box.checked).length;
    const all = group.querySelector("[data-choose-all]");
    if (all) {
      all.checked = chosen > 0 && chosen === boxes.length;
      all.indeterminate = chosen > 0 && chosen < boxes.length;
    }
    for (const count of group.querySelectorAll("[data-chosen-count]")) count.textContent = String(chosen);
  }

  function filterChoices(input) {
    const group = input.closest("[data-choices]");
    const wanted = input.value.trim().toLowerCase();
    for (const row of group.querySelectorAll("[data-choice-row]")) {
      row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
    }
  }

  // Parts of a form that only matter for one answer of another field. ------------------------------
  function showDependents(scope) {
    for (const part of scope.querySelectorAll("[data-shown-when]")) {
      const [name, values] = part.dataset.shownWhen.split("=");
      const fields = [...document.getElementsByName(name)];
      const answers = fields
        .filter((field) => !["checkbox", "radio"].includes(field.type) || field.checked)
        .map((field) => (field.type === "checkbox" ? "on" : field.value));
      part.hidden = fields.length > 0 && !values.split("|").some((value) => answers.includes(value));
    }
  }

  // A table that is wider than its place is scrolled with the keyboard too. --------------------------
  function reachWideTables(scope) {
    for (const panel of scope.querySelectorAll(".table-panel")) {
      const wide = panel.scrollWidth > panel.clientWidth;
      if (wide) panel.tabIndex = 0;
      else panel.removeAttribute("tabindex");
      const name = panel.querySelector("caption")?.textContent.trim();
      if (wide && name) {
        panel.setAttribute("role", "region");
        panel.setAttribute("aria-label", name);
      }
    }
  }

  function prepare(scope) {
    reachWideTables(scope);
    for (const extra of scope.querySelectorAll("[data-needs-js]")) extra.hidden = false;
    for (const group of scope.querySelectorAll("[data-choices]")) countChosen(group);
    for (const plain of scope.querySelectorAll("[data-without-js]")) plain.hidden = true;
    showDependents(scope);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.matches("[data-copy], [data-copy-from]")) copy(button);
    if (button.matches("[data-print]")) print();
    if (button.matches("[data-theme-toggle]")) {
      setTheme(themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length]);
      announce(button.innerText.trim());
    }
  });

  document.addEventListener("change", (event) => {
    const field = event.target;
    if (field.matches("[data-theme-choice]")) setTheme(field.value);
    const group = field.closest("[data-choices]");
    if (group && field.matches("[data-choose-all]")) {
      for (const box of group.querySelectorAll("[data-choice]")) {
        if (!box.disabled && !box.closest("[hidden]")) box.checked = field.checked;
      }
    }
    if (group) countChosen(group);
    showDependents(document);
  });

  document.addEventListener("input", (event) => {
    if (event.target.matches("[data-choice-filter]")) filterChoices(event.target);
  });

  // A form is sent once, however often its button is pressed, and the button shows that it works. --
  function rest(form) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll(".btn[data-busy]")) delete button.dataset.busy;
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
    const pressed = event.submitter;
    const button = pressed?.matches(".btn") ? pressed : form.querySelector(".btn[type=submit].btn-primary");
    if (button) button.dataset.busy = "";
    // Who waits longer than this may press again. A download leaves the page where it is.
    setTimeout(() => delete form.dataset.sent, 4000);
    if (form.hasAttribute("data-download")) setTimeout(rest, 4000, form);
  });

  // A form within a page stays there if the answer is an error or none comes.
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt.matches("form")) rest(event.detail.elt);
  });

  // Live parts. ------------------------------------------------------------------------------------
  document.addEventListener("htmx:afterSwap", (event) => {
    const part = event.detail.elt;
    prepare(document);
    const news = part.querySelector ? part.querySelector("[data-announce]") : null;
    if (news) announce(news.textContent.trim().replace(/\s+/g, " "));
    const focus = part.querySelector ? part.querySelector("[data-focus]") : null;
    if (focus && event.detail.requestConfig?.verb !== "get") focus.focus();
  });

  document.addEventListener("keydown", (event) => {
    const menu = document.querySelector(".phone-menu[open]");
    if (event.key === "Escape" && menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  addEventListener("resize", () => reachWideTables(document));
  prefersDark.addEventListener("change", showTheme);
  // Back from another page, which may have taken long: nothing is under way any more.
  addEventListener("pageshow", () => [...document.forms].forEach(rest));
  for (const toggle of document.querySelectorAll("[data-theme-toggle]")) toggle.hidden = false;
  showTheme();
  prepare(document);
  // A form sent back with mistakes puts the reader at the first one.
  const mistake =
    document.querySelector("form .is-invalid") || document.querySelector("[data-mistake]");
  if (mistake && root.dataset.method === "POST") mistake.focus();
  rememberTimeZone();
})();
