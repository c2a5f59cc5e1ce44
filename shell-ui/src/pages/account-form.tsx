// The fields of a new account: the first one's, and those of whoever comes by an invitation.

import { type JSX, Show, createSignal } from "solid-js";

import { Button, TextField } from "../../kit/index.ts";
import { type Problem, asProblem } from "../api/problem.ts";
import { Trouble } from "../parts.tsx";
import { PASSWORD_MINIMUM, handleFrom, isHandle, strengthOf } from "../password.ts";
import { s } from "../strings/index.tsx";
import { StrengthMeter } from "./strength.tsx";

export interface NewAccount {
  name: string;
  handle: string;
  password: string;
}

export interface AccountFormProps {
  submit: string;
  /** What is asked before the account itself; given what to say of a text that is missing, and what went wrong. */
  before?: (asked: { missing: (text: string) => string | undefined; problem: () => Problem | undefined }) => JSX.Element;
  onSubmit: (account: NewAccount) => Promise<void>;
}

export function AccountForm(props: AccountFormProps): JSX.Element {
  const [name, setName] = createSignal("");
  const [handle, setHandle] = createSignal("");
  const [ownHandle, setOwnHandle] = createSignal(false);
  const [password, setPassword] = createSignal("");
  const [tried, setTried] = createSignal(false);
  const [busy, setBusy] = createSignal(false);
  const [problem, setProblem] = createSignal<Problem>();
  let form!: HTMLFormElement;

  const strength = () => strengthOf(password(), [name(), handle()]);
  const missing = (text: string) => (tried() && text.trim() === "" ? s.setup.missing : undefined);
  const handleError = () => (handle() !== "" && !isHandle(handle()) ? s.setup.handleBad : missing(handle()));
  const passwordError = () => {
    if (!tried()) return undefined;
    if ([...password()].length < PASSWORD_MINIMUM) return s.strength.short;
    return strength() === "obvious" ? s.strength.obvious : undefined;
  };

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    if (busy()) return;
    setTried(true);
    setProblem(undefined);
    const wrong = form.querySelector<HTMLElement>('[aria-invalid="true"]');
    if (wrong) return wrong.focus();
    setBusy(true);
    try {
      await props.onSubmit({ name: name().trim(), handle: handle(), password: password() });
    } catch (thrown) {
      setProblem(asProblem(thrown));
    } finally {
      setBusy(false);
    }
  };

  return (
    <form class="k-card form" ref={form} novalidate onSubmit={(event) => void submit(event)}>
      {props.before?.({ missing, problem })}
      <TextField
        label={s.setup.name}
        hint={s.setup.nameHint}
        value={name()}
        onValue={(text) => {
          setName(text);
          if (!ownHandle()) setHandle(handleFrom(text));
        }}
        error={missing(name())}
        autocomplete="name"
        maxlength={80}
        dir="auto"
        required
        autofocus
      />
      <TextField
        label={s.setup.handle}
        hint={s.setup.handleHint}
        value={handle()}
        onValue={(text) => {
          setOwnHandle(text !== "");
          setHandle(text.trim().toLowerCase());
        }}
        error={handleError()}
        autocomplete="username"
        autocapitalize="none"
        spellcheck={false}
        maxlength={32}
        required
      />
      <div class="with-meter">
        <TextField
          label={s.setup.password}
          hint={s.setup.passwordHint}
          value={password()}
          onValue={setPassword}
          error={passwordError()}
          autocomplete="new-password"
          reveal={{ show: s.showPassword, hide: s.hidePassword }}
          maxlength={1024}
          required
        />
        <StrengthMeter strength={strength()} />
      </div>
      <Show when={problem()}>{(what) => <Trouble problem={what()} />}</Show>
      <Button kind="primary" wide type="submit" busy={busy()}>
        {props.submit}
      </Button>
    </form>
  );
}
