// A backup becomes a thing again.

import { type JSX, Match, Switch, createEffect, on, onCleanup } from "solid-js";

import { AlertIcon, Button, Card, ProgressBar, UploadIcon, toast } from "../../kit/index.ts";
import { plain } from "../format.ts";
import { beginBackup, cancel, failure, forgetFailure, upload } from "../sending.ts";
import { explain, s, say, size } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { usePageTitle } from "../title.ts";

export function RestorePage(): JSX.Element {
  usePageTitle(() => m.restore.title);
  let picker!: HTMLInputElement;
  const failed = () => (failure()?.problem.code === "cancelled" ? undefined : failure());
  createEffect(
    on(failure, (what) => {
      if (what?.problem.code !== "cancelled") return;
      toast(m.restore.cancelled);
      forgetFailure();
    }),
  );
  onCleanup(forgetFailure);
  const choose = () => picker.click();
  const words = () => {
    const now = upload();
    if (!now) return "";
    // When all of it has left, the server is at work.
    return now.total !== null && now.done >= now.total ? m.restore.working : say(m.restore.sending, { file: plain(now.name, 60) });
  };
  const amount = () => {
    const now = upload();
    return now?.total ? say(s.install.progress, { done: size(now.done), total: size(now.total) }) : "";
  };
  return (
    <main class="page page-narrow" id="content" tabindex="-1">
      <h1 tabindex="-1">{m.restore.title}</h1>
      <input
        ref={picker}
        type="file"
        class="k-hidden"
        accept=".zip"
        tabindex="-1"
        aria-hidden="true"
        onChange={(event) => {
          const file = event.currentTarget.files?.[0];
          if (file) void beginBackup(file);
          event.currentTarget.value = "";
        }}
      />
      <Switch
        fallback={
          <>
            <p class="k-soft lead">{m.restore.intro}</p>
            <div class="drop">
              <div class="k-empty-picture">
                <UploadIcon size={32} />
              </div>
              <Button kind="primary" onClick={choose}>
                {m.restore.choose}
              </Button>
              <p class="k-soft k-small">{m.restore.fileKind}</p>
            </div>
          </>
        }
      >
        <Match when={upload()}>
          <Card class="arriving">
            <ProgressBar label={words()} value={amount()} done={upload()?.done ?? 0} total={upload()?.total ?? null} />
            <div class="k-actions">
              <Button onClick={cancel}>{s.cancel}</Button>
            </div>
          </Card>
        </Match>
        <Match when={failed()}>
          {(what) => (
            <Card class="outcome">
              <div class="outcome-picture">
                <AlertIcon size={28} />
              </div>
              <div role="alert">
                <h2>{m.restore.failedTitle}</h2>
                <p>{explain(what().problem)}</p>
              </div>
              <p class="k-soft k-small">
                <bdi>{plain(what().name, 80)}</bdi> · {m.restore.nothingHappened}
              </p>
              <Button kind="primary" onClick={choose}>
                {m.restore.another}
              </Button>
            </Card>
          )}
        </Match>
      </Switch>
    </main>
  );
}
