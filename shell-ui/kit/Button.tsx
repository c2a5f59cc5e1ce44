import { type JSX, Show, createUniqueId, splitProps } from "solid-js";

type Kind = "plain" | "primary" | "danger" | "quiet";

export interface ButtonProps extends Omit<JSX.ButtonHTMLAttributes<HTMLButtonElement>, "disabled" | "onClick"> {
  kind?: Kind;
  wide?: boolean;
  /** Why the button cannot be used now. It stays reachable, and says so. */
  disabledBecause?: string | undefined;
  /** Something it started is going on. */
  busy?: boolean;
  onClick?: (event: MouseEvent) => void;
}

function classes(kind: Kind | undefined, wide: boolean | undefined): string {
  return `k-button${kind && kind !== "plain" ? ` k-button-${kind}` : ""}${wide ? " k-button-wide" : ""}`;
}

export function Button(props: ButtonProps): JSX.Element {
  const [own, rest] = splitProps(props, ["kind", "wide", "disabledBecause", "busy", "onClick", "children", "class", "type"]);
  const why = createUniqueId();
  return (
    <>
      <button
        {...rest}
        type={own.type ?? "button"}
        class={classes(own.kind, own.wide)}
        classList={{ [own.class ?? ""]: own.class !== undefined }}
        aria-disabled={own.disabledBecause !== undefined || own.busy ? "true" : undefined}
        aria-busy={own.busy ? "true" : undefined}
        aria-describedby={own.disabledBecause === undefined ? undefined : why}
        onClick={(event) => {
          if (own.disabledBecause !== undefined || own.busy) event.preventDefault();
          else own.onClick?.(event);
        }}
      >
        <Show when={own.busy}>
          <span class="k-spinner" aria-hidden="true" />
        </Show>
        {own.children}
      </button>
      <Show when={own.disabledBecause}>
        {(reason) => (
          <span class="k-why" id={why}>
            {reason()}
          </span>
        )}
      </Show>
    </>
  );
}

/** A link that looks like a button: for going somewhere, not for doing something. */
export function ButtonLink(props: JSX.AnchorHTMLAttributes<HTMLAnchorElement> & { kind?: Kind; wide?: boolean }): JSX.Element {
  const [own, rest] = splitProps(props, ["kind", "wide", "class"]);
  return <a {...rest} class={classes(own.kind, own.wide)} classList={{ [own.class ?? ""]: own.class !== undefined }} />;
}

/** A button that shows only a picture; `label` is its name. */
export function IconButton(
  props: JSX.ButtonHTMLAttributes<HTMLButtonElement> & { label: string },
): JSX.Element {
  const [own, rest] = splitProps(props, ["label", "class"]);
  return (
    <button
      type="button"
      {...rest}
      class="k-icon-button"
      classList={{ [own.class ?? ""]: own.class !== undefined }}
      aria-label={own.label}
      title={own.label}
    />
  );
}
