// What one does with one's own access: limit it, or hand the whole thing over.

import { type JSX, Match, Show, Switch, createResource, createSignal } from "solid-js";

import { Button, Dialog, Skeleton, toast } from "../../kit/index.ts";
import { tell } from "../acts.tsx";
import { asProblem } from "../api/problem.ts";
import { sharing } from "../api/sharing.ts";
import type { Grain, Role, Sharing } from "../api/types.ts";
import { plain } from "../format.ts";
import { Trouble } from "../parts.tsx";
import { attempt, putGrain } from "../state.ts";
import { Phrase, s, say } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { PersonPicker, RolePicker } from "./parts.tsx";
import { roleWords } from "./ways.ts";

export function LimitDialog(props: { grain: Grain; of: Sharing; onClose: () => void }): JSX.Element {
  const [role, setRole] = createSignal<Role>({ index: props.of.roles[props.of.roles.length - 1]?.index ?? 0 });
  const [busy, setBusy] = createSignal(false);
  // One may limit oneself to any role, also to one that one could not give to others.
  const all = () => ({ roles: props.of.roles.map((one) => ({ ...one, mayGive: true })), mayGiveAll: false });
  const limit = async (event: SubmitEvent) => {
    event.preventDefault();
    if (busy()) return;
    setBusy(true);
    const well = await tell(sharing.limitMyself(props.grain.id, role()), (now) => {
      putGrain(now);
      toast(say(m.access.limited, { can: plain(now.can ?? roleWords(role(), props.of.roles), 80) }), {
        label: s.thing.undo,
        run: () =>
          void tell(sharing.limitMyself(props.grain.id, { all: true }), (undone) => {
            putGrain(undone);
            toast(m.access.lifted);
          }),
      });
    });
    setBusy(false);
    if (well) props.onClose();
  };
  return (
    <Dialog open title={m.access.limitTitle} onClose={props.onClose}>
      <form class="bare" onSubmit={(event) => void limit(event)}>
        <p>{m.access.limitText}</p>
        <Show when={props.of.roles.length > 1} fallback={<p>{plain(props.of.roles[0]?.can, 80)}</p>}>
          <RolePicker legend={m.access.self} of={all()} value={role()} onValue={(now) => setRole(now ?? {})} />
        </Show>
        <div class="k-actions">
          <Button onClick={props.onClose}>{s.cancel}</Button>
          <Button kind="primary" type="submit" busy={busy()}>
            {m.access.limit}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

export function HandOverDialog(props: { grain: Grain; of: Sharing; onClose: () => void }): JSX.Element {
  const [people, { refetch }] = createResource(() => attempt(sharing.people()));
  const [person, setPerson] = createSignal<string>();
  const [keep, setKeep] = createSignal<Role | undefined>({ all: true });
  const [tried, setTried] = createSignal(false);
  const [busy, setBusy] = createSignal(false);
  const offer = async (event: SubmitEvent) => {
    event.preventDefault();
    setTried(true);
    const to = person();
    if (busy() || to === undefined) return;
    setBusy(true);
    const well = await tell(sharing.transfer(props.grain.id, to, keep()), () => {
      const name = plain(people()?.find((one) => one.id === to)?.name, 60);
      toast(say(m.access.handedOver, { name }));
    });
    setBusy(false);
    if (well) props.onClose();
  };
  return (
    <Dialog open title={<Phrase of={m.access.handOverTitle} with={{ title: props.grain.title }} />} onClose={props.onClose}>
      <form class="bare" novalidate onSubmit={(event) => void offer(event)}>
        <p>{m.access.handOverText}</p>
        <Switch fallback={<Skeleton class="skeleton-block" />}>
          <Match when={people.error}>
            <Trouble problem={asProblem(people.error)} retry={() => void refetch()} />
          </Match>
          <Match when={people()}>
            {(all) => (
              <PersonPicker
                people={all()}
                value={person()}
                onValue={setPerson}
                error={tried() && person() === undefined ? m.share.askFirst : undefined}
              />
            )}
          </Match>
        </Switch>
        <RolePicker
          legend={m.access.keepRole}
          of={{ roles: props.of.roles, mayGiveAll: true }}
          value={keep()}
          onValue={setKeep}
          nothing={{ title: m.access.keepNothing, text: m.access.keepNothingText }}
        />
        <div class="k-actions">
          <Button onClick={props.onClose}>{s.cancel}</Button>
          <Button kind="primary" type="submit" busy={busy()}>
            {m.access.handOverYes}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
