// The picture of an app that brings none: five by five cells, made from its id and so always the same for it.

const ALPHABET = "0123456789acdefghjkmnpqrstuvwxyz";
/** Space around the cells, as a share of the picture. */
const MARGIN = 0.08;

/** The seed of an app: the first 32 characters of its id, each taken modulo 16 as a hexadecimal digit. */
export function appSeed(appId: string): string {
  const digits = [...appId.toLowerCase().slice(0, 32)].map((character) => {
    const index = ALPHABET.indexOf(character);
    return ((index < 0 ? character.charCodeAt(0) : index) % 16).toString(16);
  });
  return digits.join("").padEnd(32, "0");
}

export interface Identicon {
  /** Hue in degrees. */
  hue: number;
  /** Filled cells: column and row, 0 to 4. */
  cells: [column: number, row: number][];
}

/** Fifteen digits decide the cells (even is filled), middle column first and then outward, mirrored; the last seven
 * digits decide the colour. */
export function identicon(seed: string): Identicon {
  const cells: [number, number][] = [];
  for (let at = 0; at < 15; at += 1) {
    if (Number.parseInt(seed[at] ?? "0", 16) % 2 !== 0) continue;
    const row = at % 5;
    const outward = Math.floor(at / 5);
    cells.push([2 - outward, row]);
    if (outward > 0) cells.push([2 + outward, row]);
  }
  return { hue: Math.round((Number.parseInt(seed.slice(-7), 16) / 0xfffffff) * 360), cells };
}

/** Where a cell is in a picture of 100 by 100. */
export function cellAt(column: number, row: number): { x: number; y: number; size: number } {
  const size = (100 * (1 - 2 * MARGIN)) / 5;
  return { x: 100 * MARGIN + column * size, y: 100 * MARGIN + row * size, size };
}
