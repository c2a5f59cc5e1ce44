// What others offer, on the home page: to be accepted or declined. Nobody's list fills without their doing.

import { For, type JSX, Show, createSignal } from "solid-js";

import { Button, CloudMark, GiftIcon, toast } from "../kit/index.ts";
import { tell } from "./acts.tsx";
import { sharing } from "./api/sharing.ts";
import type { Offer } from "./api/types.ts";
import { iconAddress, plain } from "./format.ts";
import { go } from "./navigation.ts";
import { Picture } from "./parts.tsx";
import { paths } from "./routes.ts";
import { dropOffer, known, putGrain } from "./state.ts";
import { Foreign, Phrase, s, say, until } from "./strings/index.tsx";
import { m } from "./strings/more.ts";
import "./sharing/sharing.css";

export function Offers(): JSX.Element {
  return (
    <section class="offers" aria-labelledby="offers-title">
      <h2 id="offers-title" class="eyebrow">
        {m.offers.title}
      </h2>
      <ul class="list">
        <For each={known.offers}>{(offer) => <OfferRow offer={offer} />}</For>
      </ul>
    </section>
  );
}

function OfferRow(props: { offer: Offer }): JSX.Element {
  const [busy, setBusy] = createSignal<"accept" | "decline">();
  const title = () => plain(props.offer.title);
  const words = () => {
    const { kind, expires } = props.offer;
    if (kind === "transfer") return m.offers.transfer;
    return expires === null ? m.offers.share : m.offers.shareUntil;
  };
  // The row goes with the answer; the focus goes where the page begins.
  const refocus = () => queueMicrotask(() => document.querySelector<HTMLElement>("main h1")?.focus());
  const accept = () => {
    const { id } = props.offer;
    setBusy("accept");
    void tell(sharing.accept(id), (grain) => {
      putGrain(grain);
      toast(say(m.offers.accepted, { title: plain(grain.title) }), { label: s.thing.open, run: () => go(paths.grain(grain.id)) });
      dropOffer(id);
      refocus();
    }).finally(() => setBusy(undefined));
  };
  const decline = () => {
    const { id } = props.offer;
    const name = title();
    setBusy("decline");
    void tell(sharing.decline(id), () => {
      toast(say(m.offers.declined, { title: name }));
      dropOffer(id);
      refocus();
    }).finally(() => setBusy(undefined));
  };
  return (
    <li class="row row-wide row-text">
      <Show
        when={iconAddress(props.offer.icon)}
        fallback={<span class="offer-mark">{props.offer.kind === "transfer" ? <GiftIcon /> : <CloudMark />}</span>}
      >
        <Picture of={{ appId: "", icon: props.offer.icon }} />
      </Show>
      <div class="row-words">
        <p class="row-name">
          <Foreign text={props.offer.title} />
        </p>
        <p class="way-about">
          <Phrase
            of={words()}
            with={{ by: plain(props.offer.by, 60), can: plain(props.offer.can, 80), when: props.offer.expires === null ? "" : until(props.offer.expires) }}
          />
        </p>
        <Show when={plain(props.offer.note, 300)}>
          {(note) => (
            <p class="way-about offer-note">
              <Phrase of={m.offers.note} with={{ note: note() }} />
            </p>
          )}
        </Show>
      </div>
      <div class="row-actions">
        <Button
          aria-label={say(m.offers.declineThis, { title: title() })}
          busy={busy() === "decline"}
          onClick={decline}
        >
          {m.offers.decline}
        </Button>
        <Button
          kind="primary"
          aria-label={say(m.offers.acceptThis, { title: title() })}
          busy={busy() === "accept"}
          onClick={accept}
        >
          {m.offers.accept}
        </Button>
      </div>
    </li>
  );
}
