// A website: which one, if the app leaves that to the person, and how to sign in there.

import { type JSX, Match, Show, Switch, createEffect, createSignal, createUniqueId } from "solid-js";

import { Button, ChoiceList, LockIcon, Notice, TextField } from "../../kit/index.ts";
import type { Chosen } from "../api/connecting.ts";
import type { Problem } from "../api/problem.ts";
import type { Choice, Credential } from "../api/types.ts";
import { plain } from "../format.ts";
import { explain, language, s, say } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { readAddress } from "./address.ts";
import { GlobeIcon } from "./icons.tsx";
import { type SignIn, type createDraft, isTyped } from "./outside.ts";
import { Actions, Address, Asked, Refused, once } from "./parts.tsx";

/** Longest address that is shown, in characters; as long as the server takes one. */
const ADDRESS_SHOWN = 1024;

export function Website(props: {
  choice: Choice;
  label: string;
  app: string;
  draft: ReturnType<typeof createDraft>;
  busy: boolean;
  problem: Problem | undefined;
  /** Something was changed since the server spoke. */
  onEdit: () => void;
  onChoose: (body: Chosen, title: string) => void;
  onBack: (() => void) | undefined;
  onCancel: () => void;
}): JSX.Element {
  const [draft, setDraft] = props.draft;
  const [tried, setTried] = createSignal(false);
  const [moved, setMoved] = createSignal(false);
  let form!: HTMLFormElement;

  const typed = () => isTyped(props.choice);
  const reading = () => readAddress(typed() ? draft.address : (props.choice.url ?? ""));
  const good = () => {
    const now = reading();
    return now.is === "good" ? now : undefined;
  };
  const place = () => (typed() ? good()?.host : undefined) ?? plain(props.choice.title, 80);

  const edit = (change: Partial<typeof draft>) => {
    props.onEdit();
    setDraft(change);
  };
  /** What everybody would see in an address goes where nobody does. Whether there was something. */
  const settle = () => {
    const now = reading();
    if (!typed() || now.is !== "signed") return false;
    edit({ address: now.rest, signIn: "basic", user: now.user, password: now.password });
    setMoved(true);
    return true;
  };

  const addressError = () => {
    if (!typed()) return undefined;
    const refused = props.problem?.code === "bad-request" ? explained(props.problem) : undefined;
    const now = reading();
    return refused ?? (tried() && now.is === "bad" ? m.outside.website.problems[now.why] : undefined);
  };
  const userError = () => (draft.signIn === "basic" && draft.user === "" ? m.picker.typeFirst : undefined);
  const keyError = () => {
    if (draft.signIn !== "bearer") return undefined;
    return draft.key.trim() === "" ? m.picker.typeFirst : /^[\x21-\x7e]+$/.test(draft.key.trim()) ? undefined : m.outside.signIn.badKey;
  };
  const credential = (): Credential | null => {
    if (draft.signIn === "basic") return { kind: "basic", user: draft.user, password: draft.password };
    if (draft.signIn === "bearer") return { kind: "bearer", token: draft.key.trim() };
    return null;
  };

  /** Once it is drawn. */
  const bringIntoSight = (selector: string) => queueMicrotask(() => form.querySelector(selector)?.scrollIntoView({ block: "nearest" }));
  const goWrong = () => {
    queueMicrotask(() => form.querySelector<HTMLElement>('[aria-invalid="true"], .k-choices:has(.k-error) input')?.focus());
    bringIntoSight(":is(.k-field, .k-choices):has(.k-error)");
  };
  // What the server does not take is where it was typed.
  createEffect(() => {
    if (props.problem?.code === "bad-request") goWrong();
  });

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    // Whoever sees the address change looks at it first.
    if (settle()) return;
    setTried(true);
    if ((typed() && !good()) || draft.signIn === undefined || userError() || keyError()) return goWrong();
    const url = good()?.url;
    props.onChoose({ choice: props.choice.id, website: { ...(typed() && url !== undefined && { url }), credential: credential() } }, place());
  };

  return (
    <form class="bare" novalidate ref={form} onSubmit={submit} on:mousedown={once} on:click={once}>
      <Asked app={props.app} label={props.label} focus={!typed()} />
      <Show
        when={typed()}
        fallback={
          <div class="picker-outside">
            <p class="picker-address">
              <GlobeIcon />
              <Address text={plain(props.choice.url, ADDRESS_SHOWN)} />
            </p>
            <p>{m.outside.website.reach}</p>
          </div>
        }
      >
        <TextField
          label={m.outside.website.address}
          value={draft.address}
          onValue={(address) => {
            setMoved(false);
            setTried(false);
            edit({ address });
          }}
          onChange={settle}
          hint={good() && !addressError() ? say(m.outside.website.reachTyped, { address: good()?.url ?? "" }) : m.outside.website.addressHint}
          error={addressError()}
          maxlength={4000}
          inputmode="url"
          autocapitalize="none"
          autocomplete="off"
          spellcheck={false}
          autofocus
        />
      </Show>
      <Show when={moved()}>
        <div role="status">
          <Notice>{m.outside.website.moved}</Notice>
        </div>
      </Show>
      <Show when={good()?.encrypted === false}>
        <div role="alert">
          <Notice kind="warning">
            {say(draft.signIn === "basic" || draft.signIn === "bearer" ? m.outside.website.unencryptedSignIn : m.outside.website.unencrypted, { place: place() })}
          </Notice>
        </div>
      </Show>
      <ChoiceList
        legend={m.outside.signIn.legend}
        options={[
          { value: "none", title: m.outside.signIn.none },
          { value: "basic", title: m.outside.signIn.basic },
          { value: "bearer", title: m.outside.signIn.bearer, text: m.outside.signIn.bearerText },
        ]}
        value={draft.signIn}
        onValue={(signIn) => {
          edit({ signIn: signIn as SignIn });
          bringIntoSight(".picker-secret");
        }}
        error={tried() && draft.signIn === undefined ? m.outside.signIn.first : undefined}
      />
      <Switch>
        <Match when={draft.signIn === "basic"}>
          <Fields>
            <TextField
              label={m.outside.signIn.user}
              value={draft.user}
              onValue={(user) => edit({ user })}
              error={tried() ? userError() : undefined}
              maxlength={500}
              autocapitalize="none"
              autocomplete="off"
              spellcheck={false}
            />
            <TextField
              label={m.outside.signIn.password}
              value={draft.password}
              onValue={(password) => edit({ password })}
              reveal={{ show: s.showPassword, hide: s.hidePassword }}
              maxlength={2000}
              autocapitalize="none"
              autocomplete="off"
              spellcheck={false}
            />
          </Fields>
        </Match>
        <Match when={draft.signIn === "bearer"}>
          <Fields>
            <TextField
              label={m.outside.signIn.key}
              value={draft.key}
              onValue={(key) => edit({ key })}
              reveal={{ show: m.outside.signIn.showKey, hide: m.outside.signIn.hideKey }}
              error={tried() ? keyError() : undefined}
              maxlength={8000}
              autocapitalize="none"
              autocomplete="off"
              spellcheck={false}
            />
          </Fields>
        </Match>
      </Switch>
      <Refused text={props.problem && !addressError() ? explained(props.problem) : undefined} />
      <Actions onBack={props.onBack} onCancel={props.onCancel}>
        <Button kind="primary" type="submit" busy={props.busy}>
          {m.outside.connect}
        </Button>
      </Actions>
    </form>
  );
}

/** Fields for a secret, and who will see it. */
function Fields(props: { children: JSX.Element }): JSX.Element {
  const id = createUniqueId();
  return (
    <div class="picker-secret" role="group" aria-describedby={id}>
      {props.children}
      <p class="picker-kept" id={id}>
        <LockIcon />
        <span>{m.outside.signIn.kept}</span>
      </p>
    </div>
  );
}

/** The server's sentence says most, even where it is in another language. */
function explained(problem: Problem): string {
  if (problem.code !== "bad-request" || language === "en" || !problem.message) return explain(problem);
  return say(m.outside.refused, { why: plain(problem.message, 400) });
}
