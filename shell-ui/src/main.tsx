import "../kit/kit.css";
import "./shell.css";

import { render } from "percloud-dom";

import { Shell } from "./shell.tsx";
import { start } from "./state.ts";
import { loadStrings } from "./strings/index.tsx";

const root = document.getElementById("app");
if (root) {
  void loadStrings()
    // Without its second language the shell speaks English rather than not at all.
    .catch(() => undefined)
    .then(() => {
      render(() => <Shell />, root);
      return start();
    });
}
