import { type JSX } from "solid-js";

import { Button, Dialog } from "../../kit/index.ts";
import type { Grain } from "../api/types.ts";
import { Phrase, s } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { AccessView } from "./AccessView.tsx";

/** Who has access, in front of the thing itself: for apps that have a button for it. */
export function AccessDialog(props: { grain: Grain; onClose: () => void; onLeave: () => void }): JSX.Element {
  return (
    <Dialog open wide title={<Phrase of={m.access.title} with={{ title: props.grain.title }} />} onClose={props.onClose}>
      <AccessView grain={props.grain} onLeave={props.onLeave} />
      <div class="k-actions">
        <Button onClick={props.onClose}>{s.close}</Button>
      </div>
    </Dialog>
  );
}
