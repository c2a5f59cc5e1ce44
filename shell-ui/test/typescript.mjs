// Lets `node --test` load the TypeScript modules as they are, with the compiler that the build uses.

import { register } from "node:module";

register("./typescript-hooks.mjs", import.meta.url);
