import { type JSX, Match, Show, Switch, createSignal } from "solid-js";

import { Button, Dialog, toast } from "../../kit/index.ts";
import { tell } from "../acts.tsx";
import { sharing } from "../api/sharing.ts";
import type { Way } from "../api/types.ts";
import { plain } from "../format.ts";
import { Phrase, count, say } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { list, wayName } from "./parts.tsx";
import { below } from "./ways.ts";

/** Asks before a way ends, and says what else ends with it. It cannot be taken back: what ended must be given anew. */
export function EndDialog(props: { grainId: string; way: Way; ways: Way[]; onClose: () => void; onEnded: () => void }): JSX.Element {
  const { way } = props;
  const isLink = way.kind === "link";
  const names = [...new Set(below(props.ways, way.id).map(wayName))];
  const [busy, setBusy] = createSignal<"all" | "link">();
  const title = () => {
    if (!isLink) return <Phrase of={m.access.removeTitle} with={{ name: wayName(way) }} />;
    return plain(way.label) ? <Phrase of={m.access.removeLinkTitle} with={{ name: plain(way.label, 60) }} /> : m.access.removeLinkTitleUnnamed;
  };
  const end = async (onlyLink: boolean) => {
    if (busy()) return;
    setBusy(onlyLink ? "link" : "all");
    const well = await tell(sharing.revoke(props.grainId, way.id, onlyLink), () => {
      toast(isLink ? m.access.removedLink : say(m.access.removed, { name: wayName(way) }));
      props.onEnded();
    });
    setBusy(undefined);
    if (well) props.onClose();
  };
  return (
    <Dialog open title={title()} onClose={props.onClose}>
      <Switch>
        <Match when={isLink}>
          <p>{m.access.removeLinkText}</p>
          <Show when={names.length > 0}>
            <p>
              <bdi>{say(count(m.access.cameIn, names.length), { names: list(names) })}</bdi>
            </p>
          </Show>
        </Match>
        <Match when={true}>
          <p>{m.access.removeText}</p>
          <Show when={names.length > 0}>
            <p>
              <bdi>{say(count(m.access.removeAlso, names.length), { names: list(names) })}</bdi>
            </p>
          </Show>
        </Match>
      </Switch>
      <div class="k-actions">
        <Button autofocus onClick={props.onClose}>
          {m.access.keep}
        </Button>
        <Show when={isLink && names.length > 0}>
          <Button busy={busy() === "link"} onClick={() => void end(true)}>
            {m.access.onlyLink}
          </Button>
        </Show>
        <Button kind="danger" busy={busy() === "all"} onClick={() => void end(false)}>
          {isLink && names.length > 0 ? m.access.endTheirs : m.access.removeYes}
        </Button>
      </div>
    </Dialog>
  );
}
