// Choosing the file of an app, and watching it arrive.

import { type JSX, Match, Show, Switch, createEffect, createSignal, on, onCleanup } from "solid-js";

import { AlertIcon, Button, Card, ProgressBar, UploadIcon, toast } from "../../kit/index.ts";
import { take } from "../dropping.tsx";
import { plain } from "../format.ts";
import { cancel, failure, forgetFailure, upload } from "../sending.ts";
import { explain, s, say, size } from "../strings/index.tsx";
import { usePageTitle } from "../title.ts";

export function ChoosePage(): JSX.Element {
  usePageTitle(() => s.install.title);
  let picker!: HTMLInputElement;
  const failed = () => (failure()?.problem.code === "cancelled" ? undefined : failure());
  createEffect(
    on(failure, (what) => {
      if (what?.problem.code === "cancelled") {
        toast(s.install.cancelled);
        forgetFailure();
      }
    }),
  );
  onCleanup(forgetFailure);
  const choose = () => picker.click();

  return (
    <main class="page page-narrow" id="content" tabindex="-1">
      <h1 tabindex="-1">{s.install.title}</h1>
      <input
        ref={picker}
        type="file"
        class="k-hidden"
        accept=".spk"
        tabindex="-1"
        aria-hidden="true"
        onChange={(event) => {
          take(event.currentTarget.files);
          event.currentTarget.value = "";
        }}
      />
      <Switch
        fallback={
          <>
            <p class="k-soft lead">{s.install.intro}</p>
            <div class="drop">
              <div class="k-empty-picture">
                <UploadIcon size={32} />
              </div>
              <p class="drop-words">
                <strong>{s.install.drop}</strong>
                <span class="k-soft">{s.install.or}</span>
              </p>
              <Button kind="primary" onClick={choose}>
                {s.install.choose}
              </Button>
              <p class="k-soft k-small">{s.install.fileKind}</p>
            </div>
          </>
        }
      >
        <Match when={upload()}>
          <Arriving />
        </Match>
        <Match when={failed()}>
          {(what) => (
            <Card class="outcome">
              <div class="outcome-picture">
                <AlertIcon size={28} />
              </div>
              <div role="alert">
                <h2>{s.install.failedTitle}</h2>
                <p>{explain(what().problem)}</p>
              </div>
              <p class="k-soft k-small">
                <bdi>{plain(what().name, 80)}</bdi> · {s.install.nothingHappened}
              </p>
              <Button kind="primary" onClick={choose}>
                {s.install.another}
              </Button>
            </Card>
          )}
        </Match>
      </Switch>
    </main>
  );
}

function Arriving(): JSX.Element {
  const words = () => {
    const now = upload();
    return now ? say(s.install.stages[now.stage], { file: plain(now.name, 60) }) : "";
  };
  const amount = () => {
    const now = upload();
    return now?.total ? say(s.install.progress, { done: size(now.done), total: size(now.total) }) : "";
  };
  // Read out when the stage changes, not with every byte.
  const [announced, setAnnounced] = createSignal("");
  createEffect(
    on(
      () => upload()?.stage,
      (stage) => stage && setAnnounced(s.install.announce[stage]),
    ),
  );
  return (
    <Card class="arriving">
      <ProgressBar label={words()} value={amount()} done={upload()?.done ?? 0} total={upload()?.total ?? null} />
      <p class="k-hidden" role="status">
        {announced()}
      </p>
      <Show when={upload()}>
        <div class="k-actions">
          <Button onClick={cancel}>{s.cancel}</Button>
        </div>
      </Show>
    </Card>
  );
}
