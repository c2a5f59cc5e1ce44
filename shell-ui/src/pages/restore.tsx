// A backup becomes a thing again.

import type { JSX } from "solid-js";

import { plain } from "../format.ts";
import { beginBackup, upload } from "../sending.ts";
import { say } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { Choosing } from "./choosing.tsx";

export function RestorePage(): JSX.Element {
  const stage = () => {
    const now = upload();
    if (!now) return "";
    // When all of it has left, the server is at work.
    return now.total !== null && now.done >= now.total ? m.restore.working : say(m.restore.sending, { file: plain(now.name, 60) });
  };
  const take = (files: FileList | null) => {
    const file = files?.[0];
    if (file) void beginBackup(file);
  };
  return <Choosing words={m.restore} accept=".zip" onFiles={take} stage={stage()} />;
}
