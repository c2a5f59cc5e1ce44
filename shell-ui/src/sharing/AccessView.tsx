// Who has access to a thing: everybody and every link, what each can do, from whom, since and until when.

import "./sharing.css";

import { For, type JSX, Match, Show, Switch, createResource, createSignal } from "solid-js";

import { Button, ClockIcon, LinkIcon, PhoneIcon, Menu, MenuItem, PencilIcon, PlusIcon, TrashIcon, toast } from "../../kit/index.ts";
import { tell } from "../acts.tsx";
import { asProblem } from "../api/problem.ts";
import { sharing } from "../api/sharing.ts";
import type { Grain, Sharing, Way } from "../api/types.ts";
import { plain } from "../format.ts";
import { Loading, Trouble } from "../parts.tsx";
import { attempt, hearing, putGrain } from "../state.ts";
import { Foreign, count, s, say, since, until, when } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { ChangeDialog } from "./ChangeDialog.tsx";
import { EndDialog } from "./EndDialog.tsx";
import { HandOverDialog, LimitDialog } from "./OwnAccess.tsx";
import { ShareDialog } from "./ShareDialog.tsx";
import { Face, Facts, sentence, wayName } from "./parts.tsx";
import { type Branch, tree } from "./ways.ts";

type Asking = "share" | "limit" | "hand-over" | { change: Way } | { end: Way };

export function AccessView(props: { grain: Grain; onLeave: () => void }): JSX.Element {
  const id = props.grain.id;
  const [of, { refetch }] = createResource(() => attempt(sharing.of(id)));
  const [asking, setAsking] = createSignal<Asking>();
  hearing((event) => {
    if (event.type === "sharing" && event.grain === id) void refetch();
  });
  const again = () => void refetch();
  const close = () => setAsking(undefined);
  const asked = <K extends "change" | "end">(kind: K) => {
    const now = asking();
    return typeof now === "object" && kind in now ? (now as Record<K, Way>)[kind] : undefined;
  };
  return (
    <Switch fallback={<Loading />}>
      <Match when={of.error}>
        <Trouble problem={asProblem(of.error)} retry={again} />
      </Match>
      {/* What is known stays on the screen while it is asked for again. */}
      <Match when={of.latest}>
        {(now) => (
          <>
            <section class="section" aria-label={m.access.list}>
              <ul class="list ways">
                <OwnerRow owner={now().owner} />
                <For each={tree(now().ways)}>
                  {(branch) => <WayRow branch={branch} depth={0} onChange={(way) => setAsking({ change: way })} onEnd={(way) => setAsking({ end: way })} />}
                </For>
              </ul>
              <Show when={now().mayShare} fallback={<p class="k-soft k-small">{m.access.nobodyHidden}</p>}>
                <Show when={now().ways.length > 0} fallback={<p class="k-soft">{`${m.access.nobody} ${m.access.nobodyText}`}</p>}>
                  <p class="k-soft k-small">{count(m.access.count, now().ways.length)}</p>
                </Show>
              </Show>
            </section>
            <Show when={now().mayShare}>
              <div class="buttons">
                <Button kind="primary" onClick={() => setAsking("share")}>
                  <PlusIcon /> {s.thing.share}
                </Button>
              </div>
            </Show>
            <OwnSection grain={props.grain} of={now()} onAsk={setAsking} onLeave={props.onLeave} />
            <Show when={asked("change")} keyed>
              {(way) => <ChangeDialog grainId={id} way={way} of={now()} onClose={close} onChanged={again} />}
            </Show>
            <Show when={asked("end")} keyed>
              {(way) => <EndDialog grainId={id} way={way} ways={now().ways} onClose={close} onEnded={again} />}
            </Show>
            <Show when={asking() === "share"}>
              <ShareDialog
                grain={props.grain}
                onClose={() => {
                  close();
                  again();
                }}
              />
            </Show>
            <Show when={asking() === "limit"}>
              <LimitDialog grain={props.grain} of={now()} onClose={close} />
            </Show>
            <Show when={asking() === "hand-over"}>
              <HandOverDialog grain={props.grain} of={now()} onClose={close} />
            </Show>
          </>
        )}
      </Match>
    </Switch>
  );
}

function OwnerRow(props: { owner: Sharing["owner"] }): JSX.Element {
  return (
    <li>
      <div class="way">
        <Face name={props.owner.name} />
        <div class="way-words">
          <p class="way-name">
            <Foreign text={props.owner.name} limit={60} />
          </p>
          <p class="way-about">{props.owner.me ? m.access.ownerYou : m.access.ownerLine}</p>
        </div>
      </div>
    </li>
  );
}

function WayRow(props: { branch: Branch; depth: number; onChange: (way: Way) => void; onEnd: (way: Way) => void }): JSX.Element {
  const way = () => props.branch.way;
  const isLink = () => way().kind === "link";
  const live = () => way().state === "active" || way().state === "pending";
  const state = () => {
    if (isLink() && way().singleUse && way().used) return m.access.oneUseDone;
    return m.access.states[way().state];
  };
  const words = () => {
    const now = way();
    const expires = now.state === "expired" ? null : now.expires;
    if (!isLink()) return sentence(now.me ? undefined : wayName(now), now.can, expires);
    const { linkWords, linkWordsUntil } = m.access;
    return say(expires === null ? linkWords : linkWordsUntil, { can: plain(now.can, 80), when: expires === null ? "" : until(expires) });
  };
  const facts = () => {
    const now = way();
    return [
      now.byMe ? m.access.byYou : say(m.access.by, { name: plain(now.by, 60) }),
      say(m.access.since, { when: since(now.created) }),
      now.lastUsed === null ? live() && m.access.neverUsed : say(m.access.lastUsed, { when: when(now.lastUsed) }),
      isLink() && now.singleUse && !now.used && m.access.oneUse,
      now.mayReshare && m.access.mayPassOn,
    ];
  };
  return (
    <li>
      <div class="way" classList={{ "way-off": !live() }} style={{ "--depth": String(props.depth) }}>
        <Show when={way().kind !== "person"} fallback={<Face name={way().name} />}>
          <span class="way-mark">{isLink() ? <LinkIcon /> : <PhoneIcon />}</span>
        </Show>
        <div class="way-words">
          <p class="way-name">
            <Show when={isLink()} fallback={<bdi>{words()}</bdi>}>
              <bdi>{wayName(way())}</bdi>
            </Show>
          </p>
          <Show when={isLink()}>
            <p>
              <bdi>{words()}</bdi>
            </p>
          </Show>
          <Show when={way().kind === "person" && plain(way().label, 60)}>{(label) => <p class="way-about">{label()}</p>}</Show>
          <p class="way-about">
            <Facts of={facts()} />
          </p>
          <Show when={state()}>
            {(text) => (
              <p class="way-state">
                <ClockIcon size={14} /> {text()}
              </p>
            )}
          </Show>
        </div>
        <Show when={way().mayChange}>
          <Menu label={say(m.access.moreFor, { name: wayName(way()) })}>
            <MenuItem icon={<PencilIcon />} onSelect={() => props.onChange(way())}>
              {m.access.change}
            </MenuItem>
            <MenuItem icon={<TrashIcon />} danger onSelect={() => props.onEnd(way())}>
              {isLink() ? m.access.removeLink : m.access.remove}
            </MenuItem>
          </Menu>
        </Show>
      </div>
      <Show when={props.branch.children.length > 0}>
        <ul>
          <For each={props.branch.children}>
            {(child) => <WayRow branch={child} depth={props.depth + 1} onChange={props.onChange} onEnd={props.onEnd} />}
          </For>
        </ul>
      </Show>
    </li>
  );
}

function OwnSection(props: { grain: Grain; of: Sharing; onAsk: (asking: Asking) => void; onLeave: () => void }): JSX.Element {
  const lift = () =>
    tell(sharing.limitMyself(props.grain.id, { all: true }), (now) => {
      putGrain(now);
      toast(m.access.lifted);
    });
  return (
    <section class="section" aria-labelledby="own-access">
      <h2 id="own-access" class="eyebrow">
        {m.access.self}
      </h2>
      <Show when={!props.grain.mine}>
        <p>{sentence(undefined, props.grain.can ?? "", props.grain.expires)}.</p>
      </Show>
      <div class="buttons">
        <Show when={props.of.roles.length > 0 && !props.grain.mine}>
          <Button onClick={() => props.onAsk("limit")}>{m.access.limit}</Button>
          <Show when={props.of.limited}>
            <Button onClick={() => void lift()}>{m.access.lift}</Button>
          </Show>
        </Show>
        <Show when={props.grain.mine} fallback={<Button class="quiet-danger" onClick={props.onLeave}>{s.thing.leave}</Button>}>
          <Button onClick={() => props.onAsk("hand-over")}>{m.access.handOver}</Button>
        </Show>
      </div>
      <Show when={props.of.roles.length > 0 && !props.grain.mine}>
        <p class="k-soft k-small">{m.access.limitText}</p>
      </Show>
    </section>
  );
}
