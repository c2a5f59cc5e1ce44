/// <reference types="vite/client" />

declare module "percloud-dom" {
  export * from "solid-js/web";
}
