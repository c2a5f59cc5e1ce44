// Ways into a thing as a tree: who came in by which link, who passed it on to whom. Pure.

import type { Role, RoleChoice, Sharing, Way } from "../api/types.ts";

export interface Branch {
  way: Way;
  children: Branch[];
}

/** The ways as they hang below one another, in the order given. What hangs below nothing known is a root; nothing is
 * lost, and nothing shown twice, whatever the server says. */
export function tree(ways: readonly Way[]): Branch[] {
  const branches = new Map(ways.map((way) => [way.id, { way, children: [] } as Branch]));
  const roots: Branch[] = [];
  for (const branch of branches.values()) {
    const parent = branch.way.via === null ? undefined : branches.get(branch.way.via);
    if (parent && !isBelow(parent, branch.way.id, branches)) parent.children.push(branch);
    else roots.push(branch);
  }
  return roots;
}

/** Whether a branch hangs below the way `id`, so that hanging `id` below it would close a circle. */
function isBelow(branch: Branch, id: string, branches: Map<string, Branch>): boolean {
  const seen = new Set<string>();
  for (let at: Branch | undefined = branch; at && !seen.has(at.way.id); at = at.way.via === null ? undefined : branches.get(at.way.via)) {
    if (at.way.id === id) return true;
    seen.add(at.way.id);
  }
  return false;
}

/** Everything that hangs below a way, near ones first. */
export function below(ways: readonly Way[], id: string): Way[] {
  const children = new Map<string, Way[]>();
  for (const way of ways) {
    if (way.via === null) continue;
    const list = children.get(way.via);
    if (list) list.push(way);
    else children.set(way.via, [way]);
  }
  const found: Way[] = [];
  const known = new Set([id]);
  const queue = [id];
  for (let at = queue.shift(); at !== undefined; at = queue.shift()) {
    for (const way of children.get(at) ?? []) {
      if (known.has(way.id)) continue;
      known.add(way.id);
      found.push(way);
      queue.push(way.id);
    }
  }
  return found;
}

/** The role that a new share has until the person chooses: the app's default, if one may give it. */
export function firstRole(sharing: Pick<Sharing, "roles" | "mayGiveAll">): Role {
  const given = sharing.roles.filter((role) => role.mayGive);
  const choice = given.find((role) => role.isDefault) ?? given[0];
  if (choice) return { index: choice.index };
  return sharing.mayGiveAll ? { all: true } : {};
}

/** A role as the value of a choice, and back. */
export const roleKey = (role: Role): string => (role.all ? "all" : role.index === undefined ? "default" : String(role.index));
export const roleFrom = (key: string): Role => (key === "all" ? { all: true } : key === "default" ? {} : { index: Number(key) });

/** What a role is called in the app's words, if it is one of the app's. */
export function roleWords(role: Role, roles: readonly RoleChoice[]): string | undefined {
  return role.index === undefined ? undefined : roles.find((one) => one.index === role.index)?.can;
}

/** The first names of a list, and how many are left: "Bela", "Bela and Chiara", "Bela and 3 others". */
export function shorten(names: readonly string[]): { first: string[]; others: number } {
  return names.length <= 2 ? { first: [...names], others: 0 } : { first: names.slice(0, 1), others: names.length - 1 };
}
