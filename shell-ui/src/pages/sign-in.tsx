import { type JSX, Show, createSignal, onCleanup } from "solid-js";

import { Button, CloudMark, TextField } from "../../kit/index.ts";
import { api } from "../api/client.ts";
import { type Problem, asProblem } from "../api/problem.ts";
import { Trouble } from "../parts.tsx";
import { known, welcome } from "../state.ts";
import { count, s } from "../strings/index.tsx";
import { usePageTitle } from "../title.ts";

export function SignInPage(): JSX.Element {
  const [handle, setHandle] = createSignal("");
  const [password, setPassword] = createSignal("");
  const [tried, setTried] = createSignal(false);
  const [busy, setBusy] = createSignal(false);
  const [problem, setProblem] = createSignal<Problem>();
  const [wait, setWait] = createSignal(0);
  usePageTitle(() => s.signIn.title);

  // The clock on the wall decides, not how often a timer comes round: phones sleep.
  let until = 0;
  const timer = setInterval(() => {
    if (wait() === 0) return;
    setWait(Math.max(0, Math.ceil((until - Date.now()) / 1000)));
    if (wait() === 0) setProblem(undefined);
  }, 250);
  onCleanup(() => clearInterval(timer));

  let form!: HTMLFormElement;
  const missing = (text: string) => (tried() && text === "" ? s.setup.missing : undefined);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    if (busy() || wait() > 0) return;
    setTried(true);
    if (handle().trim() === "" || password() === "") {
      form.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
      return;
    }
    setBusy(true);
    setProblem(undefined);
    try {
      welcome(await api.signIn({ handle: handle().trim().toLowerCase(), password: password() }));
    } catch (thrown) {
      const what = asProblem(thrown);
      setProblem(what);
      if (what.code === "too-many-attempts") {
        until = Date.now() + (what.retryAfter ?? 30) * 1000;
        setWait(what.retryAfter ?? 30);
      } else if (what.code === "wrong-credentials") {
        form.querySelector<HTMLInputElement>('[autocomplete="current-password"]')?.select();
      }
    } finally {
      setBusy(false);
    }
  };

  return (
    <main class="page page-door" id="content" tabindex="-1">
      <header class="door-head">
        <CloudMark size={56} />
        <h1 tabindex="-1">{s.signIn.title}</h1>
        <p class="k-soft">{known.settings?.title ?? s.product}</p>
      </header>
      <form class="k-card form" ref={form} novalidate onSubmit={(event) => void submit(event)}>
        <TextField
          label={s.signIn.handle}
          value={handle()}
          onValue={setHandle}
          error={missing(handle())}
          autocomplete="username"
          autocapitalize="none"
          spellcheck={false}
          maxlength={64}
          required
          autofocus
        />
        <TextField
          label={s.signIn.password}
          value={password()}
          onValue={setPassword}
          error={missing(password())}
          autocomplete="current-password"
          reveal={{ show: s.showPassword, hide: s.hidePassword }}
          maxlength={1024}
          required
        />
        <Show when={problem()}>{(what) => <Trouble problem={what()} />}</Show>
        <div>
          <Button
            kind="primary"
            wide
            type="submit"
            busy={busy()}
            disabledBecause={wait() > 0 ? count(s.signIn.wait, wait()) : undefined}
          >
            {s.signIn.submit}
          </Button>
        </div>
      </form>
    </main>
  );
}
