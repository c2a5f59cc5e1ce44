import { type JSX, createEffect, createSignal, on } from "solid-js";

import { Button, Checkbox, Dialog, toast } from "../../kit/index.ts";
import { tell } from "../acts.tsx";
import { api } from "../api/client.ts";
import type { Grain } from "../api/types.ts";
import { putGrain } from "../state.ts";
import { Phrase, s } from "../strings/index.tsx";

/** What can be set for one thing: today only how much its pages may reach. */
export function SettingsDialog(props: { grain: Grain; open: boolean; onClose: () => void; onSaved: () => void }): JSX.Element {
  const [relaxed, setRelaxed] = createSignal(false);
  const [busy, setBusy] = createSignal(false);
  createEffect(
    on(
      () => props.open,
      (open) => open && setRelaxed(props.grain.relaxedPolicy),
    ),
  );
  const save = async () => {
    if (relaxed() === props.grain.relaxedPolicy) return props.onClose();
    setBusy(true);
    const well = await tell(api.change(props.grain.id, { relaxedPolicy: relaxed() }), (now) => {
      putGrain(now);
      toast(s.settings.saved);
    });
    setBusy(false);
    if (!well) return;
    props.onClose();
    props.onSaved();
  };
  return (
    <Dialog open={props.open} title={<Phrase of={s.settings.title} with={{ title: props.grain.title }} />} onClose={props.onClose}>
      <form
        class="bare"
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        <Checkbox
          checked={relaxed()}
          onChecked={setRelaxed}
          label={
            <>
              <strong>{s.settings.relaxed}</strong>
              <span class="check-more">{s.settings.relaxedText}</span>
            </>
          }
        />
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
