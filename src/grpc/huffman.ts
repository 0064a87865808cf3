/**
 * Bits of the code of each byte, and of the end of a text as the last one (RFC 7541 appendix B). Codes of one length ascend
 * with the byte, and each length goes on where the one before it ended: the lengths are all of the table.
 */
const LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28,
  28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7,
  8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19,
  13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13,
  28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21,
  22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23,
  22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
  25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const LONGEST = 30;
const SHORTEST = 5;
const END = 256;

/** Codes of one length: the first of them, and what they stand for. */
interface Level {
  readonly first: number;
  readonly symbols: readonly number[];
}

let levels: readonly Level[] | undefined;

function makeLevels(): readonly Level[] {
  const made: Level[] = [{ first: 0, symbols: [] }];
  let first = 0;
  for (let length = 1; length <= LONGEST; length++) {
    const symbols = LENGTHS.flatMap((bits, symbol) => (bits === length ? [symbol] : []));
    made.push({ first, symbols });
    first = (first + symbols.length) << 1;
  }
  return made;
}

/** The text of a Huffman-coded value, one character for each byte; `undefined` for what is none (RFC 7541 §5.2). */
export function decodeHuffman(bytes: Uint8Array): string | undefined {
  levels ??= makeLevels();
  const text = Buffer.allocUnsafe(Math.floor((bytes.length * 8) / SHORTEST));
  let end = 0;
  let code = 0;
  let length = 0;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = (code << 1) | ((byte >> bit) & 1);
      length++;
      const level = levels[length];
      if (level === undefined) return undefined;
      const symbol = level.symbols[code - level.first];
      if (symbol === undefined) continue;
      if (symbol === END) return undefined;
      text[end++] = symbol;
      code = 0;
      length = 0;
    }
  }
  // What is left is the beginning of the code of the end.
  const isPadding = length < 8 && code === (1 << length) - 1;
  return isPadding ? text.toString('latin1', 0, end) : undefined;
}
