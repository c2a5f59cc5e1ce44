// A page of the shell inside an app's page: shows a text with a password that the app itself may not read. The text lies
// in this tab's storage, put there by the shell; what is behind the `#` says which. Everything is shown as text.

import "./page.css";

import type { Shown } from "../frame/template.ts";

/** How often the password is kept alive while it is on the screen, and for how long each time, in milliseconds. */
const KEEP_EVERY = 60_000;
const KEEP_FOR = 300_000;

const WORDS = {
  en: { copy: "Copy", copied: "Copied", gone: "This text is not here any more. Reload the page." },
  de: { copy: "Kopieren", copied: "Kopiert", gone: "Dieser Text ist nicht mehr da. Laden Sie die Seite neu." },
};
const language = navigator.language.toLowerCase().startsWith("de") ? "de" : "en";
const words = WORDS[language];
document.documentElement.lang = language;

function read(): Shown | undefined {
  const name = location.hash.slice(1);
  if (!/^[0-9a-f]{32}$/.test(name)) return undefined;
  try {
    const shown = JSON.parse(sessionStorage.getItem(`template ${name}`) ?? "null") as Shown | null;
    return typeof shown?.text === "string" ? shown : undefined;
  } catch {
    return undefined;
  }
}

function show(shown: Shown): void {
  const { body } = document;
  if (shown.color !== undefined && /^#[0-9a-f]{6}$/i.test(shown.color)) body.style.color = shown.color;
  const text = document.createElement(shown.link === undefined ? "pre" : "a");
  text.textContent = shown.text;
  // A link leads to a program on this device, never to a page: its scheme begins with `clientapp-`.
  if (text instanceof HTMLAnchorElement && shown.link !== undefined && /^clientapp-[a-z0-9+.-]+:/.test(shown.link)) {
    text.href = shown.link;
    text.target = "_blank";
    text.rel = "noopener noreferrer";
  }
  body.append(text);
  if (shown.button) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = words.copy;
    button.addEventListener("click", () => {
      // Frames in frames may not use the clipboard; the old command works on what is marked.
      getSelection()?.selectAllChildren(text);
      button.textContent = document.execCommand("copy") ? words.copied : words.copy;
    });
    body.dataset["button"] = shown.button;
    if (shown.button === "left") body.prepend(button);
    else body.append(button);
  }
}

function keepAlive({ address, token }: Shown): void {
  const keep = () =>
    fetch(address, {
      headers: { Authorization: `Bearer ${token}`, "X-Sandstorm-Token-Keepalive": String(KEEP_FOR) },
      credentials: "omit",
      cache: "no-store",
      referrerPolicy: "no-referrer",
    }).catch(() => undefined);
  void keep();
  setInterval(() => {
    // Out of sight nobody copies it.
    if (document.visibilityState === "visible") void keep();
  }, KEEP_EVERY);
}

const shown = read();
if (shown) {
  show(shown);
  keepAlive(shown);
} else {
  const gone = document.createElement("p");
  gone.textContent = words.gone;
  document.body.append(gone);
}
