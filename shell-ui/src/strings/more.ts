// The words of pages that arrive later. Whoever imports them waits until they are there.

import { language } from "./index.tsx";
import type { More } from "./more-en.ts";

export const m: More = language === "de" ? (await import("./more-de.ts")).moreDe : (await import("./more-en.ts")).moreEn;
