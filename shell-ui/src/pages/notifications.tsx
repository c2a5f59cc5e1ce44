// What the apps have to say.

import "../sharing/sharing.css";

import { For, type JSX, Match, Show, Switch, createResource } from "solid-js";

import { BellIcon, Button, CheckIcon, CloseIcon, EmptyState, Menu, MenuItem, MuteIcon, toast } from "../../kit/index.ts";
import { tell } from "../acts.tsx";
import { connecting } from "../api/connecting.ts";
import { asProblem } from "../api/problem.ts";
import type { Notification, NotificationAct } from "../api/types.ts";
import { plain } from "../format.ts";
import { Loading, Picture, Trouble } from "../parts.tsx";
import { paths, readInside } from "../routes.ts";
import { attempt, grainById, hearing, setUnread } from "../state.ts";
import { Foreign, count, say, when } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { Facts } from "../sharing/parts.tsx";
import { usePageTitle } from "../title.ts";
import { limitWords } from "./limit-words.ts";

export function NotificationsPage(): JSX.Element {
  usePageTitle(() => m.notifications.title);
  const [all, { refetch, mutate }] = createResource(() => attempt(connecting.notifications()));
  hearing((event) => {
    if (event.type === "notifications") void refetch();
  });

  const put = (change: (all: Notification[]) => Notification[]) => {
    mutate((now) => now && change(now));
    setUnread((all.latest ?? []).filter((one) => !one.read).length);
  };
  const act = (one: Notification, what: NotificationAct, words?: string) =>
    tell(connecting.answer(one.id, what), () => {
      put((now) => {
        if (what === "read") return now.map((other) => (other.id === one.id ? { ...other, read: true } : other));
        if (what === "mute-grain") return now.filter((other) => other.grain !== one.grain);
        return now.filter((other) => other.id !== one.id);
      });
      if (words) toast(words);
    });
  const unread = () => (all.latest ?? []).filter((one) => !one.read);
  const readAll = () => {
    const until = Math.max(...unread().map((one) => one.time));
    return tell(connecting.readAll(until), () => put((now) => now.map((one) => (one.time <= until ? { ...one, read: true } : one))));
  };

  return (
    <main class="page page-narrow" id="content" tabindex="-1">
      <Switch
        fallback={
          <>
            <h1 tabindex="-1">{m.notifications.title}</h1>
            <Loading />
          </>
        }
      >
        <Match when={all.error}>
          <h1 tabindex="-1">{m.notifications.title}</h1>
          <Trouble problem={asProblem(all.error)} retry={() => void refetch()} />
        </Match>
        <Match when={all.latest?.length === 0}>
          <EmptyState level={1} picture={<BellIcon size={32} />} title={m.notifications.emptyTitle}>
            <p class="k-soft">{m.notifications.emptyText}</p>
          </EmptyState>
        </Match>
        <Match when={all.latest}>
          {(now) => (
            <>
              <div class="title-row">
                <h1 tabindex="-1">{m.notifications.title}</h1>
                <Show when={unread().length > 0}>
                  <Button kind="quiet" onClick={() => void readAll()}>
                    {m.notifications.allRead}
                  </Button>
                </Show>
              </div>
              <ul class="list">
                <For each={now()}>{(one) => <Row of={one} act={(what, words) => void act(one, what, words)} />}</For>
              </ul>
            </>
          )}
        </Match>
      </Switch>
    </main>
  );
}

function Row(props: { of: Notification; act: (what: NotificationAct, words?: string) => void }): JSX.Element {
  const text = () => (props.of.limit === null ? plain(props.of.text, 300) : limitWords(props.of.limit, props.of.text));
  const target = () => {
    const { grain, path, limit } = props.of;
    // There it stands against its limits, and they can be changed.
    if (grain !== null && limit !== null) return paths.settings(grain);
    return grain === null ? undefined : paths.grain(grain, readInside(path ?? "/") ?? "/");
  };
  return (
    <li class="row row-text" classList={{ "row-unread": !props.of.read }}>
      <Picture of={{ appId: grainById(props.of.grain ?? "")?.appId ?? "", icon: props.of.icon }} />
      <div class="row-words">
        <Show when={target()} fallback={<p class="row-text-name">{text()}</p>}>
          {(href) => (
            <a
              class="row-link row-text-name"
              href={href()}
              onClick={() => {
                if (!props.of.read) props.act("read");
              }}
            >
              <bdi>{text()}</bdi>
            </a>
          )}
        </Show>
        <p class="way-about">
          <Show when={!props.of.read}>
            <span class="unread" role="img" aria-label={m.notifications.unread} />
          </Show>
          <Facts
            of={[
              plain(props.of.title, 60),
              props.of.from !== null && say(m.notifications.from, { from: plain(props.of.from, 60) }),
              props.of.count > 1 && count(m.notifications.times, props.of.count),
              props.of.ongoing ? m.notifications.ongoing : when(props.of.time),
            ]}
          />
        </p>
        <Show when={props.of.ongoing}>
          <div class="row-actions">
            <Button aria-label={say(m.notifications.stopThis, { text: text() })} onClick={() => props.act("cancel", m.notifications.stopped)}>
              {m.notifications.stop}
            </Button>
          </div>
        </Show>
      </div>
      <Menu label={`${m.notifications.more}: ${plain(props.of.text, 60)}`}>
        <Show when={!props.of.read}>
          <MenuItem icon={<CheckIcon />} onSelect={() => props.act("read")}>
            {m.notifications.markRead}
          </MenuItem>
        </Show>
        <Show when={!props.of.ongoing}>
          <MenuItem icon={<CloseIcon />} onSelect={() => props.act("dismiss")}>
            {m.notifications.dismiss}
          </MenuItem>
          <MenuItem icon={<MuteIcon />} onSelect={() => props.act("mute-thread", m.notifications.muted)}>
            {m.notifications.muteThread}
          </MenuItem>
          <Show when={props.of.grain !== null}>
            <MenuItem icon={<MuteIcon />} onSelect={() => props.act("mute-grain", m.notifications.muted)}>
              <Foreign text={say(m.notifications.muteGrain, { title: plain(props.of.title, 40) })} />
            </MenuItem>
          </Show>
        </Show>
      </Menu>
    </li>
  );
}
