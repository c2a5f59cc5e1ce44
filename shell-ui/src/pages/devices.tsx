// Phones and programs that use a thing: each with a password of its own, shown once, taken away alone.

import { For, type JSX, Match, Show, Switch, createResource, createSignal } from "solid-js";

import { Button, Dialog, EmptyState, PhoneIcon, PlusIcon, Skeleton, TextField, toast } from "../../kit/index.ts";
import { ConfirmDialog, tell } from "../acts.tsx";
import { connecting } from "../api/connecting.ts";
import { asProblem } from "../api/problem.ts";
import { sharing } from "../api/sharing.ts";
import type { Device, Grain, Role, Sharing } from "../api/types.ts";
import { endOfDay, plain } from "../format.ts";
import { Trouble } from "../parts.tsx";
import { Facts, OnceShown, RolePicker, UntilField, isPast, sentence } from "../sharing/parts.tsx";
import { firstRole } from "../sharing/ways.ts";
import { attempt } from "../state.ts";
import { Phrase, s, say, when } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { AboutThing } from "./about-thing.tsx";

export function DevicesPage(props: { id: string }): JSX.Element {
  return (
    <AboutThing id={props.id} title={m.devices.titleOf} name={m.devices.title}>
      {(grain) => <Devices grain={grain} />}
    </AboutThing>
  );
}

function Devices(props: { grain: Grain }): JSX.Element {
  const id = props.grain.id;
  const [devices, { refetch, mutate }] = createResource(() => attempt(connecting.devices(id)));
  const [adding, setAdding] = createSignal(false);
  const [removing, setRemoving] = createSignal<Device>();
  const remove = async () => {
    const one = removing();
    if (!one) return;
    await tell(connecting.removeDevice(id, one.id), () => {
      mutate((all) => all?.filter((other) => other.id !== one.id));
      toast(say(m.devices.removed, { label: plain(one.label, 60) }));
    });
  };
  return (
    <>
      <p class="k-soft">{m.devices.intro}</p>
      <Switch fallback={<Skeleton class="skeleton-block" />}>
        <Match when={devices.error}>
          <Trouble problem={asProblem(devices.error)} retry={() => void refetch()} />
        </Match>
        <Match when={devices()?.length === 0}>
          <EmptyState picture={<PhoneIcon size={32} />} title={m.devices.empty}>
            <Button kind="primary" onClick={() => setAdding(true)}>
              {m.devices.add}
            </Button>
          </EmptyState>
        </Match>
        <Match when={devices()}>
          {(all) => (
            <>
              <ul class="list">
                <For each={all()}>{(device) => <DeviceRow device={device} onRemove={() => setRemoving(device)} />}</For>
              </ul>
              <div class="buttons">
                <Button kind="primary" onClick={() => setAdding(true)}>
                  <PlusIcon /> {m.devices.add}
                </Button>
              </div>
            </>
          )}
        </Match>
      </Switch>
      <Show when={adding()}>
        <AddDialog grain={props.grain} onClose={() => setAdding(false)} onAdded={(device) => mutate((all) => [...(all ?? []), device])} />
      </Show>
      <ConfirmDialog
        open={removing() !== undefined}
        question={m.devices.removeTitle}
        values={{ label: removing()?.label ?? "" }}
        text={m.devices.removeText}
        yes={m.devices.remove}
        no={m.devices.keep}
        onYes={remove}
        onClose={() => setRemoving(undefined)}
      />
    </>
  );
}

function DeviceRow(props: { device: Device; onRemove: () => void }): JSX.Element {
  const used = () => {
    const { lastUsed, lastAgent } = props.device;
    if (lastUsed === null) return m.devices.neverUsed;
    const values = { when: when(lastUsed), agent: plain(lastAgent, 60) };
    return say(values.agent ? m.devices.usedBy : m.devices.used, values);
  };
  return (
    <li class="row row-wide row-text">
      <span class="way-mark" aria-hidden="true">
        <PhoneIcon />
      </span>
      <div class="row-words">
        <p class="row-name">
          <bdi>{sentence(plain(props.device.label, 60), props.device.can, props.device.expires)}</bdi>
        </p>
        <p class="way-about">
          <Facts of={[m.devices.madeBy[props.device.kind], !props.device.mine && say(m.devices.of, { who: plain(props.device.who, 60) }), used()]} />
        </p>
      </div>
      <div class="row-actions">
        <Button class="quiet-danger" aria-label={say(m.devices.removeThis, { label: plain(props.device.label, 60) })} onClick={props.onRemove}>
          {m.devices.remove}
        </Button>
      </div>
    </li>
  );
}

interface Made {
  device: Device;
  password: string;
  user: string;
  url: string;
}

function AddDialog(props: { grain: Grain; onClose: () => void; onAdded: (device: Device) => void }): JSX.Element {
  const [of, { refetch }] = createResource(() => attempt(sharing.of(props.grain.id)));
  const [made, setMade] = createSignal<Made>();
  return (
    <Dialog open title={made() ? <Phrase of={m.devices.readyTitle} with={{ label: made()?.device.label ?? "" }} /> : m.devices.addTitle} onClose={props.onClose}>
      <Switch fallback={<Skeleton class="skeleton-block" />}>
        <Match when={made()}>{(now) => <Ready made={now()} onClose={props.onClose} />}</Match>
        <Match when={of.error}>
          <Trouble problem={asProblem(of.error)} retry={() => void refetch()} />
        </Match>
        <Match when={of()} keyed>
          {(now) => (
            <AddForm
              grain={props.grain}
              of={now}
              onClose={props.onClose}
              onMade={(fresh) => {
                props.onAdded(fresh.device);
                setMade(fresh);
              }}
            />
          )}
        </Match>
      </Switch>
    </Dialog>
  );
}

function AddForm(props: { grain: Grain; of: Sharing; onClose: () => void; onMade: (made: Made) => void }): JSX.Element {
  // A program acts for its person: it can do what they can, or less.
  const roles = { roles: props.of.roles.map((role) => ({ ...role, mayGive: true })), mayGiveAll: true };
  const [label, setLabel] = createSignal("");
  const [role, setRole] = createSignal<Role>(firstRole({ ...roles, roles: [] }));
  const [day, setDay] = createSignal("");
  const [tried, setTried] = createSignal(false);
  const [busy, setBusy] = createSignal(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setTried(true);
    if (busy() || label().trim() === "" || isPast(day())) return;
    setBusy(true);
    const expires = endOfDay(day());
    await tell(connecting.addDevice(props.grain.id, { label: label().trim(), role: role(), ...(expires !== undefined && { expires }) }), props.onMade);
    setBusy(false);
  };
  return (
    <form class="bare" novalidate onSubmit={(event) => void submit(event)}>
      <TextField
        label={m.devices.label}
        hint={m.devices.labelHint}
        value={label()}
        onValue={setLabel}
        error={tried() && label().trim() === "" ? s.setup.missing : undefined}
        maxlength={80}
        dir="auto"
        autocomplete="off"
        autofocus
        required
      />
      <RolePicker legend={m.devices.what} of={roles} value={role()} onValue={(now) => setRole(now ?? {})} />
      <UntilField value={day()} onValue={setDay} />
      <div class="k-actions">
        <Button onClick={props.onClose}>{s.cancel}</Button>
        <Button kind="primary" type="submit" busy={busy()}>
          {m.devices.submit}
        </Button>
      </div>
    </form>
  );
}

function Ready(props: { made: Made; onClose: () => void }): JSX.Element {
  const help = [
    { title: m.devices.howCalendar, text: m.devices.howCalendarText },
    { title: m.devices.howFiles, text: m.devices.howFilesText },
    { title: m.devices.howGit, text: m.devices.howGitText, command: `git clone ${props.made.url}` },
    { title: m.devices.howOther, text: m.devices.howOtherText },
  ];
  return (
    <>
      <p>{m.devices.readyText}</p>
      <OnceShown label={m.devices.address} value={props.made.url} />
      <OnceShown label={m.devices.user} value={props.made.user} />
      <OnceShown label={m.devices.password} value={props.made.password} autofocus />
      <div class="helps">
        <For each={help}>
          {(one) => (
            <details class="more-choices">
              <summary>{one.title}</summary>
              <p class="k-soft">{one.text}</p>
              <Show when={one.command}>
                {(command) => (
                  <p class="command" dir="ltr">
                    <code>{command()}</code>
                  </p>
                )}
              </Show>
            </details>
          )}
        </For>
      </div>
      <div class="k-actions">
        <Button kind="primary" onClick={props.onClose}>
          {m.done}
        </Button>
      </div>
    </>
  );
}
