// The calls of docs/shell-api.md about people, sharing and what happened.

import { call } from "./client.ts";
import type { Grain, History, Invitation, LinkView, Me, NewShare, Opened, Person, Role, Sharing, Way } from "./types.ts";

const id = encodeURIComponent;

export const sharing = {
  people: async () => (await call<{ people: Person[] }>("GET", "/people")).people,
  invitations: async () => (await call<{ invitations: Invitation[] }>("GET", "/invitations")).invitations,
  invite: (note?: string) => call<{ invitation: Invitation; url: string }>("POST", "/invitations", note ? { note } : {}),
  uninvite: (invitationId: string) => call<void>("DELETE", `/invitations/${id(invitationId)}`),
  join: (body: { secret: string; name: string; handle: string; password: string }) => call<Me>("POST", "/join", body),
  of: (grainId: string) => call<Sharing>("GET", `/grains/${id(grainId)}/sharing`),
  share: (grainId: string, body: NewShare) => call<{ way: Way; url?: string }>("POST", `/grains/${id(grainId)}/shares`, body),
  change: (grainId: string, way: string, body: { label?: string; role?: Role; expires?: number | null; mayReshare?: boolean }) =>
    call<Way>("PATCH", `/grains/${id(grainId)}/shares/${id(way)}`, body),
  revoke: (grainId: string, way: string, onlyLink: boolean) =>
    call<void>("DELETE", `/grains/${id(grainId)}/shares/${id(way)}`, onlyLink ? { onlyLink } : undefined),
  limitMyself: (grainId: string, role: Role) => call<Grain>("PATCH", `/grains/${id(grainId)}/access`, { role }),
  transfer: (grainId: string, person: string, keep?: Role) =>
    call<unknown>("POST", `/grains/${id(grainId)}/transfer`, keep ? { person, keep } : { person }),
  look: (token: string) => call<LinkView>("POST", "/links/look", { token }),
  openLink: (token: string, path: string) => call<Opened & { token?: string }>("POST", "/links/open", { token, path }),
  acceptLink: (token: string) => call<Grain>("POST", "/links/accept", { token }),
  accept: (offer: string) => call<Grain>("POST", `/offers/${id(offer)}/accept`),
  decline: (offer: string) => call<void>("POST", `/offers/${id(offer)}/decline`),
  history: (grainId?: string) => call<History>("GET", grainId === undefined ? "/history" : `/grains/${id(grainId)}/history`),
};
