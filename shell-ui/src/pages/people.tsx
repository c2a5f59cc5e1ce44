// Everybody on this server, and, for its owner, who is invited.

import "../sharing/sharing.css";

import { For, type JSX, Match, Show, Switch, createResource, createSignal } from "solid-js";

import { Button, Dialog, PlusIcon, Skeleton, toast } from "../../kit/index.ts";
import { tell } from "../acts.tsx";
import { asProblem } from "../api/problem.ts";
import { sharing } from "../api/sharing.ts";
import { plain } from "../format.ts";
import { Trouble } from "../parts.tsx";
import { Face } from "../sharing/parts.tsx";
import { InviteForm } from "../sharing/Invite.tsx";
import { attempt, known } from "../state.ts";
import { Foreign, say, until, when } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { usePageTitle } from "../title.ts";

export function PeoplePage(): JSX.Element {
  usePageTitle(() => m.people.title);
  const isOwner = () => known.me?.role === "owner";
  const [inviting, setInviting] = createSignal(false);
  const [people, { refetch: askAgain }] = createResource(() => attempt(sharing.people()));
  const [invitations, { refetch, mutate }] = createResource(isOwner, () => attempt(sharing.invitations()));
  const takeBack = (id: string) =>
    tell(sharing.uninvite(id), () => {
      mutate((all) => all?.filter((one) => one.id !== id));
      toast(m.people.takenBack);
    });
  return (
    <main class="page page-narrow" id="content" tabindex="-1">
      <div class="title-row">
        <h1 tabindex="-1">{m.people.title}</h1>
        <Show when={isOwner()}>
          <Button kind="primary" onClick={() => setInviting(true)}>
            <PlusIcon /> {m.share.inviteNew}
          </Button>
        </Show>
      </div>
      <p class="k-soft">{m.people.intro}</p>
      <Switch fallback={<Skeleton class="skeleton-block" />}>
        <Match when={people.error}>
          <Trouble problem={asProblem(people.error)} retry={() => void askAgain()} />
        </Match>
        <Match when={people()}>
          {(all) => (
            <ul class="list">
              <For each={all()}>
                {(person) => (
                  <li class="row">
                    <Face name={person.name} />
                    <div class="row-words">
                      <p class="row-name">
                        <Foreign text={person.name} limit={60} />
                        {person.me && ` (${m.you})`}
                      </p>
                      <p class="row-about">
                        <bdi>@{plain(person.handle, 40)}</bdi>
                      </p>
                    </div>
                  </li>
                )}
              </For>
            </ul>
          )}
        </Match>
      </Switch>
      <Show when={isOwner()}>
        <section class="section" aria-labelledby="invitations">
          <h2 id="invitations" class="eyebrow">
            {m.people.invitations}
          </h2>
          <Switch>
            <Match when={invitations.error}>
              <Trouble problem={asProblem(invitations.error)} retry={() => void refetch()} />
            </Match>
            <Match when={invitations()?.length === 0}>
              <p class="k-soft">{m.people.noInvitations}</p>
            </Match>
            <Match when={invitations()}>
              {(all) => (
                <ul class="list">
                  <For each={all()}>
                    {(one) => (
                      <li class="row row-wide">
                        <div class="row-words">
                          <p class="row-name">
                            <bdi>{plain(one.note, 80) || m.people.unnamed}</bdi>
                          </p>
                          <p class="row-about">{say(m.people.waiting, { when: when(one.created), until: until(one.expires) })}</p>
                        </div>
                        <div class="row-actions row-actions-flush">
                          <Button
                            class="quiet-danger"
                            aria-label={say(m.people.takeBackThis, { note: plain(one.note, 80) || m.people.unnamed })}
                            onClick={() => void takeBack(one.id)}
                          >
                            {m.people.takeBack}
                          </Button>
                        </div>
                      </li>
                    )}
                  </For>
                </ul>
              )}
            </Match>
          </Switch>
        </section>
      </Show>
      <Dialog open={inviting()} title={m.invite.title} onClose={() => setInviting(false)}>
        <InviteForm onBack={() => setInviting(false)} onDone={() => setInviting(false)} onMade={() => void refetch()} />
      </Dialog>
    </main>
  );
}
