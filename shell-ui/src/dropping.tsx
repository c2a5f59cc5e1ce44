// A file dropped anywhere on the page is looked at as an app.

import { type JSX, Show, createSignal, onCleanup } from "solid-js";

import { UploadIcon, toast } from "../kit/index.ts";
import { go } from "./navigation.ts";
import { paths } from "./routes.ts";
import { begin, upload } from "./sending.ts";
import { s } from "./strings/index.tsx";

/** Goes to the page that shows the progress, and begins. */
export function take(files: FileList | null | undefined): void {
  const file = files?.[0];
  if (!file) return;
  if (upload() || (files?.length ?? 0) > 1) {
    toast(s.install.oneAtATime);
    return;
  }
  go(paths.choose);
  void begin(file);
}

export function DropZone(): JSX.Element {
  const [over, setOver] = createSignal(false);
  const holdsFile = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  const onOver = (event: DragEvent) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    setOver(true);
  };
  const onLeave = (event: DragEvent) => {
    // Leaving one element for another is not leaving the page.
    if (event.relatedTarget === null) setOver(false);
  };
  const onDrop = (event: DragEvent) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer?.files);
  };
  addEventListener("dragover", onOver);
  addEventListener("dragleave", onLeave);
  addEventListener("drop", onDrop);
  onCleanup(() => {
    removeEventListener("dragover", onOver);
    removeEventListener("dragleave", onLeave);
    removeEventListener("drop", onDrop);
  });
  return (
    <Show when={over()}>
      <div class="drop-veil" aria-hidden="true">
        <UploadIcon size={40} />
        <p>{s.install.dropAnywhere}</p>
      </div>
    </Show>
  );
}
