// Keeps what /signup/check-email says of the mail up to date while the page is open. Without it, the page's own link looks again.
// Only texts are replaced, never what has the focus or a form that somebody fills in. #delivery is read out by screen readers.
"use strict";

(() => {
  const path = "/signup/check-email";
  const open = ["sending", "sent", "undeliverable"]; // the stages that something may still follow
  const until = Date.now() + 60 * 60 * 1000; // a page left open does not ask for ever
  let pause = 2000;
  let timer;

  const stage = () => document.getElementById("delivery")?.dataset.stage;

  function show(page) {
    const now = page.getElementById("delivery");
    if (!now) return;
    for (const id of ["delivery-title", "delivery-facts", "delivery"]) {
      const shown = document.getElementById(id);
      const fresh = page.getElementById(id);
      if (!shown || shown.contains(document.activeElement)) continue;
      if (fresh?.textContent === shown.textContent) continue;
      shown.hidden = !fresh;
      shown.replaceChildren(...(fresh ? Array.from(fresh.childNodes, (n) => document.importNode(n, true)) : []));
      if (id === "delivery") shown.dataset.stage = now.dataset.stage;
    }
    if (open.includes(stage())) return;
    for (const form of document.querySelectorAll("main .slot")) {
      form.hidden = !form.contains(document.activeElement); // it would lead to this page again
    }
  }

  async function look() {
    clearTimeout(timer);
    try {
      const answer = await fetch(path, { cache: "no-store", redirect: "error" });
      if (answer.ok) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // No network, or a restart: the next look tells.
    }
    pause = Math.min(pause * 1.5, 30000);
    wait();
  }

  function wait() {
    clearTimeout(timer);
    if (open.includes(stage()) && Date.now() < until && !document.hidden) timer = setTimeout(look, pause);
  }

  document.addEventListener("visibilitychange", wait); // nobody reads a hidden page
  wait();
})();
