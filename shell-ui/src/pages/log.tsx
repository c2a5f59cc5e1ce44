// What an app says about its own work, as it says it.

import { For, type JSX, Show, createEffect, createSignal, on, onCleanup } from "solid-js";

import { BackIcon, Button, CopyIcon, toast } from "../../kit/index.ts";
import { followLog } from "../api/log.ts";
import { type Problem, asProblem } from "../api/problem.ts";
import { pauseBefore } from "../api/events.ts";
import { plain } from "../format.ts";
import { NotFound } from "../parts.tsx";
import { paths } from "../routes.ts";
import { farewell, grainById } from "../state.ts";
import { Phrase, explain, s, say } from "../strings/index.tsx";
import { usePageTitle } from "../title.ts";

/** Lines kept and shown; a block is what appears and vanishes at once. */
const BLOCK = 100;
const BLOCKS = 30;
/** How often new lines appear, in milliseconds. */
const PACE = 150;

interface Block {
  lines: string[];
}

export function LogPage(props: { id: string }): JSX.Element {
  const grain = () => grainById(props.id);
  const title = () => plain(grain()?.title);
  usePageTitle(() => (grain() ? say(s.log.title, { title: title() }) : undefined));

  const [blocks, setBlocks] = createSignal<Block[]>([]);
  const [cut, setCut] = createSignal(false);
  const [follow, setFollow] = createSignal(true);
  const [problem, setProblem] = createSignal<Problem>();
  let view: HTMLDivElement | undefined;

  let waiting: string[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const show = () => {
    timer = undefined;
    const fresh = waiting;
    waiting = [];
    setBlocks((all) => {
      const next = [...all];
      // The last block grows until it is full; the others never change, so the page only redraws what is new.
      const last = next.pop();
      const lines = [...(last?.lines ?? []), ...fresh];
      for (let at = 0; at < lines.length; at += BLOCK) {
        const piece = lines.slice(at, at + BLOCK);
        next.push(at === 0 && last && piece.length === last.lines.length ? last : { lines: piece });
      }
      if (next.length > BLOCKS) setCut(true);
      return next.slice(-BLOCKS);
    });
  };
  const take = (lines: string[]) => {
    waiting.push(...lines.slice(-BLOCK * BLOCKS));
    if (waiting.length > 2 * BLOCK * BLOCKS) waiting = waiting.slice(-BLOCK * BLOCKS);
    timer ??= setTimeout(show, PACE);
  };

  const stop = new AbortController();
  onCleanup(() => {
    stop.abort();
    clearTimeout(timer);
  });
  void (async () => {
    for (let attempt = 0; !stop.signal.aborted; attempt += 1) {
      try {
        waiting = [];
        setBlocks([]);
        setProblem(undefined);
        await followLog(props.id, stop.signal, (lines) => {
          attempt = 0;
          take(lines);
        });
      } catch (thrown) {
        const what = asProblem(thrown);
        if (what.code === "cancelled") return;
        if (what.code === "signed-out") return farewell();
        setProblem(what);
        if (what.code === "not-found") return;
      }
      await new Promise((resume) => setTimeout(resume, pauseBefore(attempt + 1, Math.random())));
    }
  })();

  createEffect(
    on([blocks, follow], () => {
      if (follow() && view) view.scrollTop = view.scrollHeight;
    }),
  );
  const onScroll = () => {
    if (!view) return;
    const end = view.scrollHeight - view.scrollTop - view.clientHeight < 24;
    // Scrolling away from the end is a wish to read; scrolling back to it, to follow again.
    if (end !== follow()) setFollow(end);
  };
  const copy = () => {
    const text = blocks().flatMap((block) => block.lines).join("\n");
    navigator.clipboard.writeText(text).then(
      () => toast(s.log.copied),
      () => toast(s.log.cannotCopy),
    );
  };
  const noCopy = () => {
    if (!("clipboard" in navigator)) return s.log.cannotCopy;
    return blocks().length === 0 ? s.log.nothingToCopy : undefined;
  };

  return (
    <main class="page page-log" id="content" tabindex="-1">
      <Show when={problem()?.code !== "not-found"} fallback={<NotFound />}>
        <a class="back-link" href={paths.grain(props.id)}>
          <BackIcon />
          <span>
            <Phrase of={s.log.back} with={{ title: title() }} />
          </span>
        </a>
        <div class="title-row">
          <h1 tabindex="-1">
            <Phrase of={s.log.title} with={{ title: title() }} />
          </h1>
          <div class="log-tools">
            <Button aria-pressed={follow()} class="toggle" onClick={() => setFollow(!follow())}>
              {s.log.follow}
            </Button>
            <div>
              <Button disabledBecause={noCopy()} onClick={copy}>
                <CopyIcon />
                {s.log.copy}
              </Button>
            </div>
          </div>
        </div>
        <p class="k-soft">{s.log.intro}</p>
        <p class="log-problem" role="status">
          <Show when={problem()}>{(what) => explain(what())}</Show>
        </p>
        <div
          class="log"
          ref={(element) => (view = element)}
          role="log"
          aria-live="off"
          aria-label={s.log.region}
          tabindex="0"
          onScroll={onScroll}
        >
          <Show when={cut()}>
            <p class="k-soft">{s.log.cut}</p>
          </Show>
          <For each={blocks()} fallback={<p class="k-soft">{s.log.empty}</p>}>
            {(block) => <pre>{block.lines.join("\n")}</pre>}
          </For>
        </div>
      </Show>
    </main>
  );
}
