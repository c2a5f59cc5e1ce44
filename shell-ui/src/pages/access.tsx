import { type JSX, createSignal } from "solid-js";

import { LeaveDialog } from "../acts.tsx";
import { AccessView } from "../sharing/AccessView.tsx";
import { m } from "../strings/more.ts";
import { AboutThing } from "./about-thing.tsx";

export function AccessPage(props: { id: string }): JSX.Element {
  const [leaving, setLeaving] = createSignal(false);
  return (
    <AboutThing id={props.id} title={m.access.title} name={m.access.titleUnnamed}>
      {(grain) => (
        <>
          <AccessView grain={grain} onLeave={() => setLeaving(true)} />
          <LeaveDialog grain={leaving() ? grain : undefined} onClose={() => setLeaving(false)} />
        </>
      )}
    </AboutThing>
  );
}
