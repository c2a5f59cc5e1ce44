import { type JSX, Show, createSignal } from "solid-js";

import { Button, Checkbox, Dialog, TextField, toast } from "../../kit/index.ts";
import { tell } from "../acts.tsx";
import { sharing } from "../api/sharing.ts";
import type { Role, Sharing, Way } from "../api/types.ts";
import { dayOf, endOfDay, plain } from "../format.ts";
import { Phrase, s, say } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { RolePicker, UntilField, isPast, wayName } from "./parts.tsx";
import { Explained } from "./ShareDialog.tsx";
import { roleKey } from "./ways.ts";

/** What a way gives, until when, and what it is called. Every change can be taken back for a few seconds. */
export function ChangeDialog(props: { grainId: string; way: Way; of: Sharing; onClose: () => void; onChanged: () => void }): JSX.Element {
  const { way } = props;
  const [role, setRole] = createSignal<Role>(way.role);
  const [day, setDay] = createSignal(way.expires === null ? "" : dayOf(way.expires));
  const [reshare, setReshare] = createSignal(way.mayReshare);
  const [label, setLabel] = createSignal(way.label ?? "");
  const [busy, setBusy] = createSignal(false);
  const unchangedDay = () => way.expires !== null && day() === dayOf(way.expires);

  const save = async (event: SubmitEvent) => {
    event.preventDefault();
    if (busy() || (isPast(day()) && !unchangedDay())) return;
    // Only what was changed is sent, so that two people who change different things do not undo one another's.
    const changes = {
      ...(roleKey(role()) !== roleKey(way.role) && { role: role() }),
      ...(!unchangedDay() && !(way.expires === null && day() === "") && { expires: endOfDay(day()) ?? null }),
      ...(reshare() !== way.mayReshare && { mayReshare: reshare() }),
      ...(label().trim() !== (way.label ?? "") && { label: label().trim() }),
    };
    if (Object.keys(changes).length === 0) return props.onClose();
    const before = {
      ...("role" in changes && { role: way.role }),
      // A time that has passed cannot be set again.
      ...("expires" in changes && (way.expires === null || way.expires > Date.now()) && { expires: way.expires }),
      ...("mayReshare" in changes && { mayReshare: way.mayReshare }),
      ...("label" in changes && { label: way.label ?? "" }),
    };
    setBusy(true);
    const well = await tell(sharing.change(props.grainId, way.id, changes), (now) => {
      toast(say(m.access.changed, { name: wayName(way), can: plain(now.can, 80) }), {
        label: s.thing.undo,
        run: () =>
          void tell(sharing.change(props.grainId, way.id, before), () => {
            toast(m.access.changedBack);
            props.onChanged();
          }),
      });
    });
    setBusy(false);
    if (!well) return;
    props.onClose();
    props.onChanged();
  };

  return (
    <Dialog open title={<Phrase of={m.access.changeTitle} with={{ name: wayName(way) }} />} onClose={props.onClose}>
      <form class="bare" novalidate onSubmit={(event) => void save(event)}>
        <RolePicker legend={way.kind === "link" ? m.share.whatLink : m.share.what} of={props.of} value={role()} onValue={(now) => setRole(now ?? {})} />
        <UntilField value={day()} onValue={setDay} />
        <Checkbox checked={reshare()} onChecked={setReshare} label={<Explained title={m.share.reshare} text={m.share.reshareText} />} />
        <Show when={way.kind === "link"}>
          <TextField label={m.share.label} value={label()} onValue={setLabel} maxlength={100} dir="auto" autocomplete="off" />
        </Show>
        <div class="k-actions">
          <Button onClick={props.onClose}>{s.cancel}</Button>
          <Button kind="primary" type="submit" busy={busy()}>
            {s.save}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
