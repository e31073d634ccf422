"use strict";
// Without this file the page works by its button. With it, moving a slider asks again, and what is open stays open.
const form = document.querySelector("form.ask");
const answer = document.querySelector("#answer");
let running = new AbortController();

async function ask() {
  running.abort();
  running = new AbortController();
  const address = "/?" + new URLSearchParams(new FormData(form));
  answer.setAttribute("aria-busy", "true");
  try {
    const reply = await fetch(address, { signal: running.signal });
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    const open = new Set([...answer.querySelectorAll("details[open]")].map((each) => each.dataset.key));
    answer.replaceChildren(...(page.querySelector("#answer") ?? page.querySelector("main")).childNodes);
    for (const each of answer.querySelectorAll("details")) each.open = open.has(each.dataset.key);
    document.title = page.title;
    history.replaceState(null, "", address);
  } catch (error) {
    if (error.name === "AbortError") return;
    const said = Object.assign(document.createElement("p"), { className: "error", role: "alert" });
    said.textContent = "The page gets no answer from this machine; is `ksparse explore` still running?";
    answer.replaceChildren(said);
  }
  answer.removeAttribute("aria-busy");
}

form?.addEventListener("input", (event) => {
  if (event.target.type === "range") event.target.closest("label").querySelector("output").value = event.target.value;
});
form?.addEventListener("change", (event) => {
  if (event.target.type === "range" && form.elements.q.value.trim()) ask();
});
form?.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});

// The same document in other columns.
for (const [type, shown] of [["pointerover", true], ["pointerout", false]]) {
  answer?.addEventListener(type, (event) => {
    const key = event.target.closest("li[data-key]")?.dataset.key;
    if (key === undefined) return;
    for (const each of answer.querySelectorAll(`li[data-key="${CSS.escape(key)}"]`)) each.classList.toggle("same", shown);
  });
}
