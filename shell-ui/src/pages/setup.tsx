// The first minute: the setup secret makes the person in front of the screen the owner.

import { type JSX, Show, createSignal } from "solid-js";

import { Button, CheckIcon, CloudMark, TextField } from "../../kit/index.ts";
import { api } from "../api/client.ts";
import { type Problem, asProblem } from "../api/problem.ts";
import { go, settle } from "../navigation.ts";
import { Trouble } from "../parts.tsx";
import { PASSWORD_MINIMUM, handleFrom, isHandle, strengthOf } from "../password.ts";
import { paths } from "../routes.ts";
import { start, welcome } from "../state.ts";
import { s } from "../strings/index.tsx";
import { usePageTitle } from "../title.ts";
import { StrengthMeter } from "./strength.tsx";

export function SetupPage(): JSX.Element {
  // The secret comes behind the `#`, where no server sees it; it leaves the address bar before anybody looks.
  const given = location.hash.slice(1, 257);
  if (location.hash) settle(paths.setup);

  const [secret, setSecret] = createSignal(given);
  const [name, setName] = createSignal("");
  const [handle, setHandle] = createSignal("");
  const [ownHandle, setOwnHandle] = createSignal(false);
  const [password, setPassword] = createSignal("");
  const [tried, setTried] = createSignal(false);
  const [busy, setBusy] = createSignal(false);
  const [problem, setProblem] = createSignal<Problem>();
  usePageTitle(() => s.setup.title);

  const strength = () => strengthOf(password(), [name(), handle()]);
  const missing = (text: string) => (tried() && text.trim() === "" ? s.setup.missing : undefined);
  const handleError = () => {
    if (handle() !== "" && !isHandle(handle())) return s.setup.handleBad;
    return missing(handle());
  };
  const passwordError = () => {
    if (!tried()) return undefined;
    if ([...password()].length < PASSWORD_MINIMUM) return s.strength.short;
    return strength() === "obvious" ? s.strength.obvious : undefined;
  };
  let form!: HTMLFormElement;

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    if (busy()) return;
    setTried(true);
    setProblem(undefined);
    const fits = secret().trim() && name().trim() && isHandle(handle()) && !passwordError();
    if (!fits) {
      form.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
      return;
    }
    setBusy(true);
    try {
      const me = await api.setUp({ secret: secret().trim(), name: name().trim(), handle: handle(), password: password() });
      welcome(me);
      go(paths.home, { replace: true });
    } catch (thrown) {
      const what = asProblem(thrown);
      setProblem(what);
      if (what.code === "already-set-up") void start();
    } finally {
      setBusy(false);
    }
  };

  return (
    <main class="page page-door" id="content" tabindex="-1">
      <header class="door-head">
        <CloudMark size={56} />
        <h1 tabindex="-1">{s.setup.title}</h1>
        <p class="k-soft">{s.setup.intro}</p>
      </header>
      <form class="k-card form" ref={form} novalidate onSubmit={(event) => void submit(event)}>
        <Show
          when={given === "" || problem()?.code === "wrong-secret"}
          fallback={
            <p class="filled">
              <CheckIcon /> {s.setup.secretFilled}
            </p>
          }
        >
          <TextField
            label={s.setup.secret}
            hint={s.setup.secretHint}
            value={secret()}
            onValue={setSecret}
            error={missing(secret())}
            autocomplete="off"
            autocapitalize="none"
            spellcheck={false}
            required
          />
        </Show>
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
          {s.setup.create}
        </Button>
      </form>
    </main>
  );
}
