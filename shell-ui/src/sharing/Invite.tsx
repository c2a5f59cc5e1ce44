// Inviting somebody who has no account here: a link that works once.

import { type JSX, Show, createSignal } from "solid-js";

import { Button, TextField } from "../../kit/index.ts";
import { tell } from "../acts.tsx";
import { sharing } from "../api/sharing.ts";
import type { Invitation } from "../api/types.ts";
import { plain } from "../format.ts";
import { known } from "../state.ts";
import { s, say, until } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { OnceShown } from "./parts.tsx";

export function InviteForm(props: { onBack: () => void; onDone: () => void; onMade?: (invitation: Invitation) => void }): JSX.Element {
  const [note, setNote] = createSignal("");
  const [busy, setBusy] = createSignal(false);
  const [made, setMade] = createSignal<{ invitation: Invitation; url: string }>();
  return (
    <Show
      when={made()}
      fallback={
        <form
          class="bare"
          onSubmit={(event) => {
            event.preventDefault();
            if (busy()) return;
            setBusy(true);
            void tell(sharing.invite(note().trim()), (now) => {
              setMade(now);
              props.onMade?.(now.invitation);
            }).finally(() => setBusy(false));
          }}
        >
          <p>{m.invite.text}</p>
          <TextField label={m.invite.note} hint={m.invite.noteHint} value={note()} onValue={setNote} maxlength={100} dir="auto" autocomplete="off" autofocus />
          <div class="k-actions">
            <Button onClick={props.onBack}>{s.cancel}</Button>
            <Button kind="primary" type="submit" busy={busy()}>
              {m.invite.submit}
            </Button>
          </div>
        </form>
      }
    >
      {(now) => (
        <>
          <p>{say(m.invite.readyText, { when: until(now().invitation.expires) })}</p>
          <OnceShown
            label={m.invite.link}
            value={now().url}
            message={say(m.invite.message, { title: plain(known.settings?.title, 60) || s.product })}
            autofocus
          />
          <div class="k-actions">
            <Button kind="primary" onClick={props.onDone}>
              {m.done}
            </Button>
          </div>
        </>
      )}
    </Show>
  );
}
