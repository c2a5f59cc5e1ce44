// The calls of docs/shell-api.md about programs and devices, what apps ask for and say, and copies.

import { call } from "./client.ts";
import type { Credential, Device, Grain, Granted, Held, Job, LimitChange, Limits, Notification, NotificationAct, Opened, PowerboxRequest, Rendered, Role } from "./types.ts";

const id = encodeURIComponent;

export type Chosen =
  | { choice: string; role?: Role; text?: string; website?: { url?: string; credential: Credential | null } }
  | { make: { packageId: string; action: number } };

export const connecting = {
  devices: async (grainId: string) => (await call<{ devices: Device[] }>("GET", `/grains/${id(grainId)}/devices`)).devices,
  addDevice: (grainId: string, body: { label: string; role?: Role; expires?: number }) =>
    call<{ device: Device; password: string; user: string; url: string }>("POST", `/grains/${id(grainId)}/devices`, body),
  removeDevice: (grainId: string, device: string) => call<void>("DELETE", `/grains/${id(grainId)}/devices/${id(device)}`),
  template: (grainId: string, body: unknown) => call<Rendered>("POST", `/grains/${id(grainId)}/templates`, body),
  jobs: async (grainId: string) => (await call<{ jobs: Job[] }>("GET", `/grains/${id(grainId)}/jobs`)).jobs,
  limits: (grainId: string) => call<Limits>("GET", `/grains/${id(grainId)}/limits`),
  changeLimits: (grainId: string, to: LimitChange) => call<Limits>("PATCH", `/grains/${id(grainId)}/limits`, to),
  held: async (grainId: string) => (await call<{ held: Held[] }>("GET", `/grains/${id(grainId)}/authority`)).held,
  /** What a thing holds, or does by itself, ends. */
  takeBack: (grainId: string, token: string) => call<void>("DELETE", `/grains/${id(grainId)}/authority/${id(token)}`),

  ask: async (grainId: string, body: { page: string; query: string[]; label?: string }) =>
    (await call<{ request: string }>("POST", `/grains/${id(grainId)}/requests`, body)).request,
  request: (request: string) => call<PowerboxRequest>("GET", `/requests/${id(request)}`),
  choose: (request: string, body: Chosen) => call<Granted | { open: Opened; grain: string }>("POST", `/requests/${id(request)}/choose`, body),
  cancel: (request: string) => call<void>("DELETE", `/requests/${id(request)}`),

  notifications: async () => (await call<{ notifications: Notification[] }>("GET", "/notifications")).notifications,
  /** Marks as read whatever came until then. */
  readAll: (until: number) => call<void>("POST", "/notifications/read", { until }),
  answer: (notification: string, act: NotificationAct) => call<void>("POST", `/notifications/${id(notification)}`, { act }),

  duplicate: (grainId: string) => call<Grain>("POST", `/grains/${id(grainId)}/duplicate`),
  backup: (grainId: string) => `/api/grains/${id(grainId)}/backup`,
};
