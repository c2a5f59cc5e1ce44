// The shapes of docs/shell-api.md. Times are milliseconds since 1970, sizes bytes, ids opaque.

export interface Settings {
  title: string;
  version: string;
  setUp: boolean;
  signedIn: boolean;
  warnings: Warning[];
}

export interface Warning {
  code: string;
  message: string;
}

export interface Me {
  id: string;
  name: string;
  handle: string;
  role: "owner" | "member";
}

export interface Author {
  name: string | null;
  contactEmail: string | null;
  website: string | null;
  codeUrl: string | null;
}

export interface Action {
  index: number;
  noun: string;
  title: string;
  description: string;
}

export interface App {
  appId: string;
  packageId: string;
  title: string;
  version: number;
  marketingVersion: string;
  author: Author;
  icon: string | null;
  actions: Action[];
}

export interface License {
  kind: "open-source" | "proprietary" | "public-domain" | "none";
  name: string;
  text: string | null;
}

export interface Package {
  packageId: string;
  appId: string;
  title: string;
  version: number;
  marketingVersion: string;
  author: Author;
  license: License;
  shortDescription: string;
  size: number;
  icon: string | null;
  state: "staged" | "installed";
  replaces: { version: number; marketingVersion: string } | null;
  wants: Warning[];
  actions: Action[];
}

export type GrainState = "asleep" | "starting" | "running" | "failed";

export interface Grain {
  id: string;
  title: string;
  appId: string;
  appTitle: string;
  packageId: string;
  icon: string | null;
  noun: string;
  created: number;
  lastUsed: number | null;
  size: number | null;
  state: GrainState;
  problem: string | null;
  /** The limit that ended it, or because of which it can read and delete only. */
  limit: LimitMet | null;
  trashed: number | null;
  relaxedPolicy: boolean;
  mine: boolean;
  /** The owner's name. */
  owner: string;
  /** In the app's words, for what is shared with one. */
  can: string | null;
  mayShare: boolean;
  expires: number | null;
  /** Where one calls it otherwise than its owner does. */
  ownersTitle: string | null;
  unread: boolean;
}

/** Where lists go on that are not complete: to be sent as `after`. */
export interface More {
  grains: string | null;
  trash: string | null;
}

export interface GrainPage {
  grains: Grain[];
  more: string | null;
}

export interface Home {
  apps: App[];
  /** All there are, or of one's own the first of each kind where `more` says how to go on. */
  grains: Grain[];
  more?: More;
  offers: Offer[];
  /** How many are unread. */
  notifications: number;
  warnings?: Warning[];
}

/** What is stored of a way into a thing: everything, one of the app's roles, or (empty) the app's own default. */
export interface Role {
  all?: true;
  index?: number;
}

export interface Person {
  id: string;
  name: string;
  handle: string;
  me: boolean;
}

export interface Invitation {
  id: string;
  note: string | null;
  created: number;
  expires: number;
}

export interface RoleChoice {
  index: number;
  title: string;
  can: string;
  description: string;
  isDefault: boolean;
  mayGive: boolean;
}

export interface Sharing {
  roles: RoleChoice[];
  mayGiveAll: boolean;
  mayShare: boolean;
  /** Whether one has limited oneself. */
  limited: boolean;
  owner: { name: string; handle: string; me: boolean };
  ways: Way[];
}

/** One way into a thing: a person, or a link. */
export interface Way {
  id: string;
  /** A device is a program with a password of its own. */
  kind: "person" | "link" | "device";
  name: string | null;
  handle: string | null;
  me: boolean;
  label: string | null;
  role: Role;
  can: string;
  /** The way this one hangs below. */
  via: string | null;
  by: string;
  byMe: boolean;
  created: number;
  expires: number | null;
  lastUsed: number | null;
  singleUse: boolean;
  used: boolean;
  mayReshare: boolean;
  state: "active" | "pending" | "declined" | "expired" | "idle";
  mayChange: boolean;
}

export interface NewShare {
  to: { person: string } | { link: true };
  role: Role;
  label?: string;
  expires?: number;
  singleUse?: boolean;
  mayReshare?: boolean;
  note?: string;
}

/** What the holder of a link may know before following it. */
export interface LinkView {
  title: string;
  appTitle: string;
  icon: string | null;
  by: string;
  can: string;
  expires: number | null;
  /** Set when the person signed in here already has the thing. */
  grain: string | null;
}

export interface Offer {
  id: string;
  kind: "share" | "transfer";
  title: string;
  appTitle: string;
  icon: string | null;
  by: string;
  can: string;
  note: string | null;
  created: number;
  expires: number | null;
}

export interface History {
  entries: { time: number; who: string | null; what: string }[];
  intact: boolean;
}

export interface Device {
  id: string;
  label: string;
  role: Role;
  can: string;
  kind: "password" | "app";
  who: string;
  mine: boolean;
  created: number;
  lastUsed: number | null;
  lastAgent: string | null;
  expires: number | null;
}

export interface Job {
  id: string;
  name: string;
  period: string | null;
  next: number;
  created: number;
  problem: string | null;
}

/** What a thing holds of others. */
export interface Held {
  id: string;
  label: string;
  what: string;
  from: string | null;
  by: string | null;
  created: number;
}

export interface Choice {
  id: string;
  kind: "grain" | "person" | "email" | "address" | "website" | "network" | "interface";
  title: string;
  detail: string;
  icon: string | null;
  preferred: boolean;
  roles?: { index: number; title: string; can: string }[];
  /** What to type, where something must be typed. */
  asksText?: string;
  /** Of a website: its address, when the app asked for exactly this one; else the person types one. */
  url?: string | null;
}

/** How to sign in at a website. */
export type Credential = { kind: "bearer"; token: string } | { kind: "basic"; user: string; password: string };

export interface Makeable {
  packageId: string;
  action: number;
  title: string;
  noun: string;
  icon: string | null;
}

export interface PowerboxRequest {
  grain: string;
  label: string;
  choices: Choice[];
  makeable: Makeable[];
}

export interface Granted {
  token: string;
  descriptor: string;
}

export interface Notification {
  id: string;
  grain: string | null;
  title: string;
  text: string;
  from: string | null;
  icon: string | null;
  path: string | null;
  time: number;
  read: boolean;
  ongoing: boolean;
  count: number;
  /** It is the server's, not the app's: the thing met this limit. */
  limit: LimitMet | null;
}

export type LimitName = "memory" | "processes" | "disk" | "files";
export type LimitMet = LimitName | "log" | "processor" | "open-files" | "calls" | "answers" | "server-disk";

/** Bytes, or a number of things. `used` is null where nobody knows. */
export interface Amount {
  used: number | null;
  limit: number;
  usual: number;
  least: number;
  most: number;
}

export interface Limits {
  limits: Record<LimitName, Amount>;
  /** Milliseconds since it was started. */
  processor: number | null;
  met: { limit: LimitMet; time: number; text: string }[];
  running: boolean;
  full: LimitMet | null;
  mayRaise: boolean;
  /** Of a change: whether it holds already. */
  applies?: "now" | "next-start";
}

/** Null is the usual. */
export type LimitChange = Partial<Record<LimitName, number | null>>;

export type NotificationAct = "read" | "dismiss" | "cancel" | "mute-grain" | "mute-thread";

export interface Rendered {
  device: string;
  token: string;
  host: string;
  text: string;
  link?: string;
}

export type UploadStage = "receiving" | "verifying" | "unpacking" | "done" | "failed";

export interface UploadEvent {
  type: "upload";
  uploadId: string;
  stage: UploadStage;
  done: number;
  total: number | null;
}

export type ServerEvent =
  | { type: "hello" }
  | { type: "grain"; grain: Grain }
  | { type: "grain-deleted"; id: string }
  | { type: "app"; app: App }
  | { type: "app-removed"; appId: string }
  | UploadEvent
  | { type: "signed-out" }
  | { type: "sharing"; grain: string }
  | { type: "offers" }
  | { type: "notifications"; unread: number }
  | { type: "page-closed"; page: string }
  | ({ type: "answer"; request: string } & Granted)
  | { type: "asked"; request: string; grain: string }
  | { type: "show"; grain: string; path: string; newTab: boolean; from: string };

export interface Opened {
  host: string;
  secret: string;
}
