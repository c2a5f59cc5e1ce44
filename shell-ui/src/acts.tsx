// What a person does to a thing, wherever the button for it stands: the call, the words afterwards, the way back.

import { type JSX, Show, createSignal } from "solid-js";

import { Button, Dialog, TextField, toast } from "../kit/index.ts";
import { api } from "./api/client.ts";
import { asProblem } from "./api/problem.ts";
import type { Grain } from "./api/types.ts";
import { plain } from "./format.ts";
import { go } from "./navigation.ts";
import { paths } from "./routes.ts";
import { attempt, dropGrain, putGrain } from "./state.ts";
import { Phrase, explain, s, say } from "./strings/index.tsx";

/** The longest name a thing can be given, in characters. */
export const TITLE_LIMIT = 200;

/** Runs a call; says what went wrong as a message. Whether it went well. */
export async function tell<T>(call: Promise<T>, then?: (result: T) => void): Promise<boolean> {
  try {
    const result = await attempt(call);
    then?.(result);
    return true;
  } catch (thrown) {
    toast(explain(asProblem(thrown)));
    return false;
  }
}

export async function createThing(packageId: string, action: number): Promise<void> {
  await tell(api.create({ packageId, action }), (grain) => {
    putGrain(grain);
    go(paths.grain(grain.id));
  });
}

export async function moveToTrash(grain: Grain): Promise<boolean> {
  const { id } = grain;
  return tell(api.trash(id), (now) => {
    putGrain(now);
    toast(say(s.thing.trashed, { title: plain(now.title) }), { label: s.thing.undo, run: () => void restore(id) });
  });
}

export async function restore(id: string): Promise<boolean> {
  return tell(api.restore(id), (now) => {
    putGrain(now);
    toast(say(s.thing.restored, { title: plain(now.title) }), {
      label: s.thing.open,
      run: () => go(paths.grain(id)),
    });
  });
}

export async function deleteForEver(grain: Grain): Promise<boolean> {
  const { id, title } = grain;
  return tell(api.remove(id), () => {
    dropGrain(id);
    toast(say(s.trash.deleted, { title: plain(title) }));
  });
}

export async function rename(id: string, title: string): Promise<boolean> {
  return tell(api.change(id, { title }), (now) => {
    putGrain(now);
    toast(say(s.thing.renamed, { title: plain(now.title) }));
  });
}

/** Asks whether somebody else's thing shall go from one's list. */
export function LeaveDialog(props: { grain: Grain | undefined; onClose: () => void }): JSX.Element {
  return (
    <Show when={props.grain} keyed>
      {(grain) => (
        <ConfirmDialog
          open
          question={s.thing.leaveTitle}
          values={{ title: grain.title }}
          text={s.thing.leaveText}
          yes={s.thing.leave}
          no={s.thing.stay}
          onYes={() =>
            tell(api.leave(grain.id), () => {
              go(paths.home);
              dropGrain(grain.id);
              toast(say(s.thing.left, { title: plain(grain.title) }));
            })
          }
          onClose={props.onClose}
        />
      )}
    </Show>
  );
}

/** Asks for a new name. */
export function RenameDialog(props: { grain: Grain | undefined; onClose: () => void }): JSX.Element {
  return (
    <Show when={props.grain} keyed>
      {(grain) => {
        const [title, setTitle] = createSignal(grain.title);
        const [busy, setBusy] = createSignal(false);
        return (
          <Dialog open title={grain.mine ? s.thing.rename : s.thing.renameOwn} onClose={props.onClose}>
            <form
              class="bare"
              onSubmit={(event) => {
                event.preventDefault();
                const wanted = title().trim();
                if (wanted === "" || busy()) return;
                setBusy(true);
                void rename(grain.id, wanted).then((well) => {
                  setBusy(false);
                  if (well) props.onClose();
                });
              }}
            >
              <TextField
                label={s.thing.name}
                hint={grain.mine ? undefined : say(s.thing.renameOwnText, { owner: plain(grain.owner, 60), title: plain(grain.ownersTitle ?? grain.title) })}
                value={title()}
                onValue={setTitle}
                maxlength={TITLE_LIMIT}
                required
                dir="auto"
                autocomplete="off"
                ref={(input: HTMLInputElement) => queueMicrotask(() => input.select())}
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
      }}
    </Show>
  );
}

/** Asks before something that cannot be undone. The safe answer has the focus. */
export function ConfirmDialog(props: {
  open: boolean;
  question: string;
  values?: Record<string, string>;
  text: string;
  yes: string;
  no: string;
  onYes: () => Promise<unknown>;
  onClose: () => void;
}): JSX.Element {
  const [busy, setBusy] = createSignal(false);
  return (
    <Dialog open={props.open} title={<Phrase of={props.question} with={props.values ?? {}} />} onClose={props.onClose}>
      <p>{props.text}</p>
      <div class="k-actions">
        <Button autofocus onClick={props.onClose}>
          {props.no}
        </Button>
        <Button
          kind="danger"
          busy={busy()}
          onClick={() => {
            setBusy(true);
            void props.onYes().finally(() => {
              setBusy(false);
              props.onClose();
            });
          }}
        >
          {props.yes}
        </Button>
      </div>
    </Dialog>
  );
}
