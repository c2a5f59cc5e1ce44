// What a person does in the shell, said in roles and labels.

import { DEADLINE } from "./server.js";

export const account = { name: "Ada Lovelace", handle: "ada", password: "correct horse battery staple" };

/** Follows the link with the one-time secret and makes the owner's account. */
export async function setUp(page, setupUrl) {
  await page.goto(setupUrl);
  await page.getByLabel("Your name").fill(account.name);
  await page.getByLabel("User name").fill(account.handle);
  await page.getByLabel("Password", { exact: true }).fill(account.password);
  await page.getByRole("button", { name: "Create my account" }).click();
  await page.getByRole("heading", { name: /Nothing here yet|Hello/ }).first().waitFor();
}

/** Signs in on a server set up before. */
export async function signIn(page, url) {
  await page.goto(url);
  await page.getByLabel("User name").fill(account.handle);
  await page.getByLabel("Password", { exact: true }).fill(account.password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: /Hello/ }).first().waitFor();
}

/** Chooses a package, looks at what it says of itself, and installs it. */
export async function install(page, url, file, title) {
  await page.goto(`${url}/install`);
  await page.locator('input[type="file"]').setInputFiles(file);
  await page.getByRole("heading", { name: title }).first().waitFor({ timeout: DEADLINE });
  await page.getByRole("button", { name: "Install", exact: true }).click();
  await page.getByText(`${title} is installed.`).first().waitFor({ timeout: DEADLINE });
}

/** Makes a new thing of the app just installed; returns its address. */
export async function create(page, url, noun) {
  await page.goto(url);
  await page.getByRole("button", { name: `New ${noun}`, exact: true }).click();
  await page.waitForURL(/\/grain\//);
  return new URL(page.url()).pathname;
}

/** The frame in which the open thing shows itself, once it has loaded its own page. */
export async function grainFrame(page) {
  const element = await page.locator("iframe").elementHandle({ timeout: DEADLINE });
  const frame = await element.contentFrame();
  await frame.waitForURL((url) => url.hostname.startsWith("ui-"), { timeout: DEADLINE, waitUntil: "load" });
  return frame;
}
