import assert from 'node:assert/strict';

/** Numbers of the types that tests ask for. */
export const TYPES = {
  A: 1,
  NS: 2,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  HTTPS: 65,
  AXFR: 252,
  ANY: 255,
} as const;

export interface QuestionOptions {
  readonly id?: number;
  readonly class?: number;
  /** The second word of the header. Default: recursion desired. */
  readonly flags?: number;
  /** The datagram that EDNS announces; no EDNS without it. */
  readonly edns?: number;
  readonly ednsVersion?: number;
}

/** The bytes of a question. A label may have any characters below 256. */
export function question(
  name: string,
  type: keyof typeof TYPES = 'A',
  options: QuestionOptions = {},
): Buffer {
  const { id = 0x1234, class: klass = 1, flags = 0x0100, edns, ednsVersion = 0 } = options;
  const labels = name.split('.').filter(Boolean);
  return Buffer.concat([
    words(id, flags, 1, 0, 0, edns === undefined ? 0 : 1),
    ...labels.flatMap((label) => [Buffer.of(label.length), Buffer.from(label, 'latin1')]),
    Buffer.of(0),
    words(TYPES[type], klass),
    ...(edns === undefined ? [] : [Buffer.of(0), words(41, edns), Buffer.of(0, ednsVersion, 0, 0, 0, 0)]),
  ]);
}

export interface Seen {
  readonly id: number;
  /** The header's flags by their letters, in order: `qr aa rd`. */
  readonly flags: string;
  /** With the upper bits of EDNS. */
  readonly code: number;
  /** `web. 1`; absent when the answer repeats none. */
  readonly question: string | undefined;
  /** Each as `5 10.5.0.11`: its TTL and address, or name. */
  readonly records: readonly string[];
  readonly edns: boolean;
}

/** An answer of ours, byte for byte: it throws for anything that we do not write. */
export function seen(bytes: Buffer): Seen {
  const flags = bytes.readUInt16BE(2);
  const letters = { qr: 0x8000, aa: 0x0400, tc: 0x0200, rd: 0x0100, ra: 0x0080 };
  assert.equal(flags & ~0x878f, 0, 'other flags');
  const [questions = 0, answers = 0, authorities, additional = 0] = [4, 6, 8, 10].map((at) =>
    bytes.readUInt16BE(at),
  );
  assert.ok(questions <= 1 && authorities === 0 && additional <= 1);
  let at = 12;
  let asked: string | undefined;
  if (questions === 1) {
    const name = nameAt(bytes, at);
    asked = `${name.text} ${bytes.readUInt16BE(name.end)}`;
    at = name.end + 4;
  }
  const records: string[] = [];
  for (let left = answers; left > 0; left--) {
    assert.equal(bytes.readUInt16BE(at), 0xc00c, 'the name is the question’s');
    const length = bytes.readUInt16BE(at + 10);
    const data = bytes.subarray(at + 12, at + 12 + length);
    assert.equal(data.length, length);
    records.push(`${bytes.readUInt32BE(at + 6)} ${textOf(bytes.readUInt16BE(at + 2), data)}`);
    at += 12 + length;
  }
  let upper = 0;
  if (additional === 1) {
    assert.equal(bytes.readUInt16BE(at + 1), TYPE_OPT);
    upper = bytes.readUInt8(at + 5);
    at += 11;
  }
  assert.equal(at, bytes.length, 'nothing is left over');
  return {
    id: bytes.readUInt16BE(0),
    flags: Object.entries(letters)
      .filter(([, bit]) => (flags & bit) !== 0)
      .map(([letter]) => letter)
      .join(' '),
    code: (upper << 4) | (flags & 15),
    question: asked,
    records,
    edns: additional === 1,
  };
}

const TYPE_OPT = 41;

function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2);
  for (const [index, value] of values.entries()) bytes.writeUInt16BE(value, index * 2);
  return bytes;
}

function nameAt(bytes: Buffer, start: number): { readonly text: string; readonly end: number } {
  let text = '';
  let at = start;
  for (;;) {
    const length = bytes.readUInt8(at);
    at += 1 + length;
    if (length === 0) return { text: text === '' ? '.' : text, end: at };
    text += `${bytes.toString('latin1', at - length, at)}.`;
  }
}

function textOf(type: number, data: Buffer): string {
  if (type === TYPES.A) return data.join('.');
  if (type === TYPES.PTR) return nameAt(data, 0).text;
  assert.equal(type, TYPES.AAAA);
  return data.toString('hex').replaceAll(/(.{4})(?!$)/g, '$1:');
}
