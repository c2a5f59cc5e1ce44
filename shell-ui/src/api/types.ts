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
  name: string;
  handle: string;
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
  trashed: number | null;
  relaxedPolicy: boolean;
}

export interface Home {
  apps: App[];
  grains: Grain[];
  warnings?: Warning[];
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
  | { type: "signed-out" };

export interface Opened {
  host: string;
  secret: string;
}
