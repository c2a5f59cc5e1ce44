// The browser that tests use, as the machine has it.

import { chromium } from "playwright-core";

export function launch() {
  const isRoot = process.getuid?.() === 0;
  return chromium.launch({
    executablePath: process.env.PERCLOUD_CHROMIUM || "/usr/bin/chromium",
    // Chromium's own sandbox needs an ordinary user; the pages shown here are the samples'.
    args: [...(isRoot ? ["--no-sandbox"] : []), "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}
