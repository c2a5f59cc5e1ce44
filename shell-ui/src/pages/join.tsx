// An invitation becomes an account.

import { type JSX, Match, Switch, createEffect, createSignal, on } from "solid-js";

import { ButtonLink, CloudMark, EmptyState, LinkIcon } from "../../kit/index.ts";
import { Problem, asProblem } from "../api/problem.ts";
import { sharing } from "../api/sharing.ts";
import { go, settle, visit } from "../navigation.ts";
import { paths } from "../routes.ts";
import { known, welcome } from "../state.ts";
import { Phrase, s } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { usePageTitle } from "../title.ts";
import { AccountForm, type NewAccount } from "./account-form.tsx";

export function JoinPage(): JSX.Element {
  usePageTitle(() => m.join.title);
  const [secret, setSecret] = createSignal(location.hash.slice(1, 257));
  const [bad, setBad] = createSignal(secret() === "");
  // Another invitation may be opened in the same tab.
  createEffect(
    on(
      visit,
      () => {
        const now = location.hash.slice(1, 257);
        if (now === secret()) return;
        setSecret(now);
        setBad(now === "");
      },
      { defer: true },
    ),
  );

  const join = async (account: NewAccount) => {
    try {
      const me = await sharing.join({ secret: secret(), ...account });
      // Traded: the secret is worth nothing now, and leaves the address.
      settle(paths.join);
      go(paths.home, { replace: true });
      welcome(me);
    } catch (thrown) {
      const problem = asProblem(thrown);
      if (problem.code === "wrong-secret") setBad(true);
      else throw problem.code === "bad-request" ? new Problem("bad-request", m.join.handleTaken) : problem;
    }
  };

  return (
    <main class="page page-door" id="content" tabindex="-1">
      <Switch
        fallback={
          <>
            <header class="door-head">
              <CloudMark size={56} />
              <h1 tabindex="-1">{m.join.title}</h1>
              <p class="k-soft">{m.join.intro}</p>
            </header>
            <AccountForm submit={m.join.submit} onSubmit={join} />
          </>
        }
      >
        <Match when={known.me}>
          {(me) => (
            <EmptyState level={1} picture={<CloudMark size={40} />} title={m.join.title}>
              <p class="k-soft">
                <Phrase of={m.join.signedIn} with={{ name: me().name }} />
              </p>
              <ButtonLink kind="primary" href={paths.home}>
                {s.goHome}
              </ButtonLink>
            </EmptyState>
          )}
        </Match>
        <Match when={bad()}>
          <EmptyState level={1} picture={<LinkIcon size={32} />} title={m.join.badTitle}>
            <p class="k-soft">{m.join.badText}</p>
            <ButtonLink href={paths.signIn}>{s.signIn.title}</ButtonLink>
          </EmptyState>
        </Match>
      </Switch>
    </main>
  );
}
