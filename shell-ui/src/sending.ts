// The one upload that may go on, whichever page shows it.

import { createEffect, createRoot, createSignal } from "solid-js";

import { type Problem, asProblem } from "./api/problem.ts";
import type { Grain, Package, UploadStage } from "./api/types.ts";
import { type Sending, send } from "./api/upload.ts";
import { go } from "./navigation.ts";
import { paths } from "./routes.ts";
import { farewell, putGrain, uploadEvent } from "./state.ts";

export interface Upload {
  name: string;
  stage: "sending" | Exclude<UploadStage, "done" | "failed">;
  done: number;
  total: number | null;
}

const [upload, setUpload] = createSignal<Upload>();
const [failure, setFailure] = createSignal<{ name: string; problem: Problem }>();
/** What is being sent, and why the last one did not arrive. */
export { failure, upload };

let sending: Sending<unknown> | undefined;

export function forgetFailure(): void {
  setFailure(undefined);
}

/** Sends a package and shows it when it is there. */
export const begin = (file: File): Promise<void> =>
  arrive<Package>("/packages", file, (arrived) => go(paths.install(arrived.packageId), { replace: true }));

/** Sends a backup and opens what came of it. */
export const beginBackup = (file: File): Promise<void> =>
  arrive<Grain>("/backups", file, (grain) => {
    putGrain(grain);
    go(paths.grain(grain.id), { replace: true });
  });

async function arrive<T>(to: "/packages" | "/backups", file: File, then: (arrived: T) => void): Promise<void> {
  if (sending) return;
  setFailure(undefined);
  setUpload({ name: file.name, stage: "sending", done: 0, total: file.size });
  const mine = send<T>(to, file, (done) => {
    setUpload((now) => now && (now.stage === "sending" || now.stage === "receiving" ? { ...now, stage: "sending", done } : now));
  });
  sending = mine;
  try {
    then(await mine.result);
  } catch (thrown) {
    const problem = asProblem(thrown);
    if (problem.code === "signed-out") farewell();
    setFailure({ name: file.name, problem });
  } finally {
    sending = undefined;
    setUpload(undefined);
  }
}

export function cancel(): void {
  sending?.cancel();
}

// The browser knows what it has sent, the server what it does with it.
createRoot(() => {
  createEffect(() => {
    const event = uploadEvent();
    if (!event || event.uploadId !== sending?.id) return;
    if (event.stage !== "verifying" && event.stage !== "unpacking") return;
    const { stage, done, total } = event;
    setUpload((now) => now && { ...now, stage, done, total });
  });
});
