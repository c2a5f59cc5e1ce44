// Sharing one thing: with a person of this server, or by a link that is shown once.

import "./sharing.css";

import { type JSX, Match, Show, Switch, createResource, createSignal } from "solid-js";

import { Button, Checkbox, Dialog, LinkIcon, Notice, Segments, TextField, UserIcon, toast } from "../../kit/index.ts";
import { tell } from "../acts.tsx";
import { asProblem } from "../api/problem.ts";
import { sharing } from "../api/sharing.ts";
import type { Grain, NewShare, Person, Role, Sharing, Way } from "../api/types.ts";
import { endOfDay, plain } from "../format.ts";
import { go } from "../navigation.ts";
import { Loading, Trouble } from "../parts.tsx";
import { paths } from "../routes.ts";
import { attempt, known } from "../state.ts";
import { Phrase, s, say, until } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { InviteForm } from "./Invite.tsx";
import { OnceShown, PersonPicker, RolePicker, UntilField, isPast } from "./parts.tsx";
import { firstRole } from "./ways.ts";

/** `suffix` is where in the app a link leads, if not to its start. */
export interface ShareDialogProps {
  grain: Grain;
  suffix?: string | undefined;
  onClose: () => void;
}

/** The dialog, open for as long as it is there. */
export function ShareDialog(props: ShareDialogProps): JSX.Element {
  const [inviting, setInviting] = createSignal(false);
  const [made, setMade] = createSignal<{ way: Way; url: string }>();
  const [facts, { refetch }] = createResource(async () => {
    const [of, people] = await attempt(Promise.all([sharing.of(props.grain.id), sharing.people()]));
    return { of, people };
  });
  const title = () => {
    if (made()) return m.share.linkTitle;
    return inviting() ? m.invite.title : <Phrase of={m.share.title} with={{ title: props.grain.title }} />;
  };
  return (
    <Dialog open title={title()} onClose={props.onClose}>
      <Switch fallback={<Loading />}>
        <Match when={made()}>{(link) => <LinkReady {...link()} grain={props.grain} suffix={props.suffix} onClose={props.onClose} />}</Match>
        <Match when={inviting()}>
          <InviteForm onBack={() => setInviting(false)} onDone={props.onClose} />
        </Match>
        <Match when={facts.error}>
          <Trouble problem={asProblem(facts.error)} retry={() => void refetch()} />
        </Match>
        <Match when={facts() && !facts()?.of.mayShare}>
          <Notice>
            <p>{say(m.share.mayNot, { owner: plain(props.grain.owner, 60) })}</p>
          </Notice>
          <div class="k-actions">
            <Button onClick={props.onClose}>{s.close}</Button>
          </div>
        </Match>
        <Match when={facts()}>
          {(now) => (
            <ShareForm
              grain={props.grain}
              of={now().of}
              people={now().people}
              onInvite={known.me?.role === "owner" ? () => setInviting(true) : undefined}
              onLink={setMade}
              onClose={props.onClose}
            />
          )}
        </Match>
      </Switch>
    </Dialog>
  );
}

function ShareForm(props: {
  grain: Grain;
  of: Sharing;
  people: Person[];
  onInvite: (() => void) | undefined;
  onLink: (made: { way: Way; url: string }) => void;
  onClose: () => void;
}): JSX.Element {
  const nobody = props.people.every((person) => person.me);
  const [how, setHow] = createSignal<"person" | "link">(nobody ? "link" : "person");
  const [person, setPerson] = createSignal<string>();
  const [role, setRole] = createSignal<Role>(firstRole(props.of));
  const [day, setDay] = createSignal("");
  const [once, setOnce] = createSignal(false);
  const [reshare, setReshare] = createSignal(false);
  const [words, setWords] = createSignal("");
  const [label, setLabel] = createSignal("");
  const [tried, setTried] = createSignal(false);
  const [busy, setBusy] = createSignal(false);
  const personError = () => (tried() && how() === "person" && person() === undefined ? m.share.askFirst : undefined);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    if (busy()) return;
    setTried(true);
    const to = person();
    if (isPast(day()) || (how() === "person" && to === undefined)) return;
    const expires = endOfDay(day());
    const body: NewShare = {
      to: how() === "link" ? { link: true } : { person: to ?? "" },
      role: role(),
      mayReshare: reshare(),
      ...(expires !== undefined && { expires }),
      ...(how() === "link" && { singleUse: once(), ...(label().trim() && { label: label().trim() }) }),
      ...(how() === "person" && words().trim() && { note: words().trim() }),
    };
    setBusy(true);
    await tell(sharing.share(props.grain.id, body), ({ way, url }) => {
      if (url !== undefined) return props.onLink({ way, url });
      const name = plain(props.people.find((one) => one.id === to)?.name, 60);
      toast(say(m.share.offered, { name }), { label: m.share.whoHas, run: () => go(paths.access(props.grain.id)) });
      props.onClose();
    });
    setBusy(false);
  };

  return (
    <form class="bare" novalidate onSubmit={(event) => void submit(event)}>
      <Segments
        legend={m.share.how}
        value={how()}
        onValue={(value) => setHow(value === "link" ? "link" : "person")}
        options={[
          { value: "person", label: m.share.withPerson, icon: <UserIcon /> },
          { value: "link", label: m.share.byLink, icon: <LinkIcon /> },
        ]}
      />
      <Show
        when={how() === "person"}
        fallback={
          <TextField label={m.share.label} hint={m.share.labelHint} value={label()} onValue={setLabel} maxlength={100} dir="auto" autocomplete="off" />
        }
      >
        <PersonPicker people={props.people} value={person()} onValue={setPerson} error={personError()} />
        <Show when={props.onInvite}>
          {(invite) => (
            <div class="invite-line">
              <Show when={nobody}>
                <p class="k-soft k-small">{m.share.inviteText}</p>
              </Show>
              <Button kind="quiet" onClick={() => invite()()}>
                {m.share.inviteNew}
              </Button>
            </div>
          )}
        </Show>
      </Show>
      <RolePicker
        legend={how() === "link" ? m.share.whatLink : m.share.what}
        of={props.of}
        value={role()}
        onValue={(chosen) => setRole(chosen ?? {})}
      />
      <details class="more-choices">
        <summary>{m.share.more}</summary>
        <div class="bare">
          <UntilField value={day()} onValue={setDay} />
          <Show when={how() === "link"}>
            <Checkbox checked={once()} onChecked={setOnce} label={<Explained title={m.share.once} text={m.share.onceText} />} />
          </Show>
          <Checkbox checked={reshare()} onChecked={setReshare} label={<Explained title={m.share.reshare} text={m.share.reshareText} />} />
          <Show when={how() === "person"}>
            <TextField label={m.share.note} value={words()} onValue={setWords} maxlength={300} dir="auto" autocomplete="off" />
          </Show>
        </div>
      </details>
      <div class="k-actions">
        <Button onClick={props.onClose}>{s.cancel}</Button>
        <Button kind="primary" type="submit" busy={busy()}>
          {how() === "link" ? m.share.submitLink : m.share.submitPerson}
        </Button>
      </div>
    </form>
  );
}

export function Explained(props: { title: string; text: string }): JSX.Element {
  return (
    <>
      <strong>{props.title}</strong>
      <span class="check-more">{props.text}</span>
    </>
  );
}

function LinkReady(props: { way: Way; url: string; grain: Grain; suffix: string | undefined; onClose: () => void }): JSX.Element {
  const address = () => props.url + (props.suffix && props.suffix !== "/" ? props.suffix : "");
  return (
    <>
      <p>
        <Phrase of={m.share.linkText} with={{ can: plain(props.way.can, 80) }} />{" "}
        {props.way.singleUse && `${m.share.linkOnce} `}
        {props.way.expires !== null && say(m.share.linkUntil, { when: until(props.way.expires) })}
      </p>
      <OnceShown label={m.share.link} value={address()} message={say(m.share.message, { title: plain(props.grain.title) })} autofocus />
      <p class="k-soft k-small">{m.share.linkOnlyNow}</p>
      <div class="k-actions">
        <Button kind="primary" onClick={props.onClose}>
          {m.done}
        </Button>
      </div>
    </>
  );
}
