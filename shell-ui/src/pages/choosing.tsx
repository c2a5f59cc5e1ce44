// Choosing a file, watching it arrive, and what is said when nothing comes of it.

import { type JSX, Match, Switch, createEffect, on, onCleanup } from "solid-js";

import { AlertIcon, Button, Card, ProgressBar, UploadIcon, toast } from "../../kit/index.ts";
import { plain } from "../format.ts";
import { cancel, failure, forgetFailure, upload } from "../sending.ts";
import { explain, s, say, size } from "../strings/index.tsx";
import { usePageTitle } from "../title.ts";

export interface ChoosingProps {
  words: Record<"title" | "intro" | "choose" | "fileKind" | "cancelled" | "failedTitle" | "nothingHappened" | "another", string>;
  /** What such files end in. */
  accept: string;
  onFiles: (files: FileList | null) => void;
  /** Another way to hand a file over, shown above the button. */
  otherWay?: JSX.Element;
  /** What is happening to the file that arrives. */
  stage: string;
  announced?: JSX.Element;
}

export function Choosing(props: ChoosingProps): JSX.Element {
  usePageTitle(() => props.words.title);
  let picker!: HTMLInputElement;
  const failed = () => (failure()?.problem.code === "cancelled" ? undefined : failure());
  createEffect(
    on(failure, (what) => {
      if (what?.problem.code !== "cancelled") return;
      toast(props.words.cancelled);
      forgetFailure();
    }),
  );
  onCleanup(forgetFailure);
  const choose = () => picker.click();
  const amount = () => {
    const now = upload();
    return now?.total ? say(s.install.progress, { done: size(now.done), total: size(now.total) }) : "";
  };
  return (
    <main class="page page-narrow" id="content" tabindex="-1">
      <h1 tabindex="-1">{props.words.title}</h1>
      <input
        ref={picker}
        type="file"
        class="k-hidden"
        accept={props.accept}
        tabindex="-1"
        aria-hidden="true"
        onChange={(event) => {
          props.onFiles(event.currentTarget.files);
          event.currentTarget.value = "";
        }}
      />
      <Switch
        fallback={
          <>
            <p class="k-soft lead">{props.words.intro}</p>
            <div class="drop">
              <div class="k-empty-picture">
                <UploadIcon size={32} />
              </div>
              {props.otherWay}
              <Button kind="primary" onClick={choose}>
                {props.words.choose}
              </Button>
              <p class="k-soft k-small">{props.words.fileKind}</p>
            </div>
          </>
        }
      >
        <Match when={upload()}>
          <Card class="arriving">
            <ProgressBar label={props.stage} value={amount()} done={upload()?.done ?? 0} total={upload()?.total ?? null} />
            {props.announced}
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
                <h2>{props.words.failedTitle}</h2>
                <p>{explain(what().problem)}</p>
              </div>
              <p class="k-soft k-small">
                <bdi>{plain(what().name, 80)}</bdi> · {props.words.nothingHappened}
              </p>
              <Button kind="primary" onClick={choose}>
                {props.words.another}
              </Button>
            </Card>
          )}
        </Match>
      </Switch>
    </main>
  );
}
