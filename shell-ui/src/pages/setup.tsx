// The first minute: the setup secret makes the person in front of the screen the owner.

import { type JSX, Show, createSignal } from "solid-js";

import { CheckIcon, CloudMark, TextField } from "../../kit/index.ts";
import { api } from "../api/client.ts";
import { asProblem } from "../api/problem.ts";
import { go, settle } from "../navigation.ts";
import { paths } from "../routes.ts";
import { start, welcome } from "../state.ts";
import { s } from "../strings/index.tsx";
import { usePageTitle } from "../title.ts";
import { AccountForm, type NewAccount } from "./account-form.tsx";

export function SetupPage(): JSX.Element {
  // The secret comes behind the `#`, where no server sees it; it leaves the address bar before anybody looks.
  const given = location.hash.slice(1, 257);
  if (location.hash) settle(paths.setup);
  const [secret, setSecret] = createSignal(given);
  usePageTitle(() => s.setup.title);

  const setUp = async (account: NewAccount) => {
    try {
      welcome(await api.setUp({ secret: secret().trim(), ...account }));
      go(paths.home, { replace: true });
    } catch (thrown) {
      if (asProblem(thrown).code === "already-set-up") void start();
      throw thrown;
    }
  };

  return (
    <main class="page page-door" id="content" tabindex="-1">
      <header class="door-head">
        <CloudMark size={56} />
        <h1 tabindex="-1">{s.setup.title}</h1>
        <p class="k-soft">{s.setup.intro}</p>
      </header>
      <AccountForm
        submit={s.setup.create}
        onSubmit={setUp}
        before={(asked) => (
          <Show
            when={given === "" || asked.problem()?.code === "wrong-secret"}
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
              error={asked.missing(secret())}
              autocomplete="off"
              autocapitalize="none"
              spellcheck={false}
              required
            />
          </Show>
        )}
      />
    </main>
  );
}
