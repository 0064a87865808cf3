/*
 * The messages of DNS, as far as a server of addresses needs them (RFC 1035 §4, EDNS: RFC 6891). dns-packet 5.6.1 was tried
 * in place of this file: it takes 0.4 ms and 2 MB for a header of twelve bytes that announces 65,535 records, and
 * 280 ms for a hostile message of 64 KiB; it loses bytes of names, so that an answer would repeat another question; and it
 * does not compress, which halves the addresses that fit into an answer.
 */

/** Types of records (RFC 1035 §3.2.2, RFC 3596). */
export const TYPE_A = 1;
export const TYPE_PTR = 12;
export const TYPE_AAAA = 28;
const TYPE_OPT = 41;
/** From TKEY to ANY: those that only questions have, such as transfers of a zone (RFC 6895 §3.1). */
export const FIRST_QUESTION_TYPE = 249;
export const LAST_QUESTION_TYPE = 255;
export const CLASS_IN = 1;

/** RFC 1035 §4.1.1 */
export const NOERROR = 0;
export const FORMERR = 1;
export const SERVFAIL = 2;
export const NXDOMAIN = 3;
export const NOTIMP = 4;
export const REFUSED = 5;
/** RFC 6891 §9 */
export const BADVERS = 16;

const HEADER_BYTES = 12;
const LONGEST_LABEL = 63;
const LONGEST_NAME = 255;
/** The flags of the second word of a header. */
const QR = 0x8000;
const AA = 0x0400;
const TC = 0x0200;
const RD = 0x0100;
const RA = 0x0080;
/** More records than these no question needs: OPT, and a signature that we do not look at. */
const MOST_ADDITIONAL = 2;
/** A pointer to the question's name (RFC 1035 §4.1.4). */
const QUESTION_NAME = 0xc000 | HEADER_BYTES;
/** Without EDNS a datagram has no more (RFC 1035 §2.3.4). */
const PLAIN_DATAGRAM = 512;
/** So much passes every link without fragments (RFC 9715 §3.1). */
const LARGEST_DATAGRAM = 1232;

export interface Query {
  readonly id: number;
  readonly recursionDesired: boolean;
  /** The question's bytes: an answer repeats them. */
  readonly question: Uint8Array;
  /** In lower case, without a dot at the end; empty for the root. A dot inside a label is `\046` (RFC 4343 §2.1). */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** `most`: bytes that the sender takes in a datagram. */
  readonly edns: { readonly version: number; readonly most: number } | undefined;
}

/** What a message was: a question, one to be refused with a code, or one that gets no answer. */
export type Reading = Query | { readonly id: number; readonly refused: number } | undefined;

export interface Reply {
  /** May be above 15 for a query with EDNS. */
  readonly rcode: number;
  /** The names are ours. */
  readonly authoritative: boolean;
  /** Whether names of others are answered too. */
  readonly recursion: boolean;
  /** All of the question's name. */
  readonly records: readonly ResourceRecord[];
}

export interface ResourceRecord {
  readonly type: number;
  /** Seconds. */
  readonly ttl: number;
  readonly data: Uint8Array;
}

/** Reads what anybody may have sent. Never throws. */
export function readQuery(bytes: Buffer): Reading {
  if (bytes.length < HEADER_BYTES) return undefined;
  const id = bytes.readUInt16BE(0);
  const flags = bytes.readUInt16BE(2);
  // An answer to an answer would go on for ever.
  if ((flags & QR) !== 0) return undefined;
  if (((flags >>> 11) & 15) !== 0) return { id, refused: NOTIMP };
  const [questions, answers, authorities, additional] = [4, 6, 8, 10].map((at) => bytes.readUInt16BE(at));
  const malformed = { id, refused: FORMERR };
  if (questions !== 1 || answers !== 0 || authorities !== 0) return malformed;
  const name = readName(bytes, HEADER_BYTES);
  if (name === undefined || name.end + 4 > bytes.length) return malformed;
  const end = name.end + 4;
  const edns = readEdns(bytes, end, additional ?? 0);
  if (edns === 'malformed') return malformed;
  return {
    id,
    recursionDesired: (flags & RD) !== 0,
    question: bytes.subarray(HEADER_BYTES, end),
    name: name.text,
    type: bytes.readUInt16BE(name.end),
    class: bytes.readUInt16BE(name.end + 2),
    edns,
  };
}

/** A name without pointers: there is nothing before a question that it could point to. */
function readName(bytes: Buffer, start: number): { readonly text: string; readonly end: number } | undefined {
  const labels: string[] = [];
  for (let at = start; ; ) {
    const length = bytes[at];
    if (length === undefined || length > LONGEST_LABEL || at + 1 + length - start > LONGEST_NAME)
      return undefined;
    at++;
    if (length === 0) return { text: labels.join('.').toLowerCase(), end: at };
    if (at + length > bytes.length) return undefined;
    labels.push(bytes.toString('latin1', at, at + length).replaceAll('.', '\\046'));
    at += length;
  }
}

/** The OPT record among the additional ones, which end the message. */
function readEdns(bytes: Buffer, start: number, records: number): Query['edns'] | 'malformed' {
  if (records > MOST_ADDITIONAL) return 'malformed';
  let edns: Query['edns'];
  let at = start;
  for (let left = records; left > 0; left--) {
    const name = readName(bytes, at);
    if (name === undefined || name.end + 10 > bytes.length) return 'malformed';
    if (bytes.readUInt16BE(name.end) === TYPE_OPT) {
      if (edns !== undefined || name.text !== '') return 'malformed';
      edns = { most: bytes.readUInt16BE(name.end + 2), version: bytes.readUInt8(name.end + 5) };
    }
    at = name.end + 10 + bytes.readUInt16BE(name.end + 8);
  }
  return at === bytes.length ? edns : 'malformed';
}

/** The bytes of an answer over UDP or TCP. Of records that do not fit the first are sent, with the flag for that. */
export function writeReply(query: Query, reply: Reply, transport: 'udp' | 'tcp'): Buffer {
  const opt = query.edns === undefined ? Buffer.alloc(0) : optRecord(reply.rcode);
  let room = mostBytes(query, transport) - HEADER_BYTES - query.question.length - opt.length;
  const records: Buffer[] = [];
  for (const record of reply.records) {
    const bytes = writeRecord(record);
    room -= bytes.length;
    if (room < 0) break;
    records.push(bytes);
  }
  const flags =
    QR |
    (reply.authoritative ? AA : 0) |
    (records.length < reply.records.length ? TC : 0) |
    (query.recursionDesired ? RD : 0) |
    (reply.recursion ? RA : 0) |
    (reply.rcode & 15);
  const header = headerOf(query.id, flags, [1, records.length, 0, opt.length > 0 ? 1 : 0]);
  return Buffer.concat([header, query.question, ...records, opt]);
}

/** The answer to a message whose question can't be repeated. */
export const writeRefusal = ({ id, refused }: { readonly id: number; readonly refused: number }): Buffer =>
  headerOf(id, QR | refused, [0, 0, 0, 0]);

function mostBytes({ edns }: Query, transport: 'udp' | 'tcp'): number {
  if (transport === 'tcp') return 0xffff;
  return Math.min(Math.max(edns?.most ?? 0, PLAIN_DATAGRAM), LARGEST_DATAGRAM);
}

function headerOf(id: number, flags: number, counts: readonly [number, number, number, number]): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(flags, 2);
  for (const [index, count] of counts.entries()) header.writeUInt16BE(count, 4 + index * 2);
  return header;
}

function writeRecord({ type, ttl, data }: ResourceRecord): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(QUESTION_NAME, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt16BE(CLASS_IN, 4);
  head.writeUInt32BE(ttl, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

/** Our own EDNS: version 0, the largest datagram that we send or take, and the upper bits of the code. */
function optRecord(rcode: number): Buffer {
  const bytes = Buffer.alloc(11);
  bytes.writeUInt16BE(TYPE_OPT, 1);
  bytes.writeUInt16BE(LARGEST_DATAGRAM, 3);
  bytes.writeUInt8(rcode >>> 4, 5);
  return bytes;
}

/** A name as the data of a record; `undefined` when DNS can't have it: a label is empty or longer than 63 bytes. */
export function encodeName(name: string): Uint8Array | undefined {
  const labels = name.split('.').map((label) => Buffer.from(label, 'latin1'));
  if (labels.some(({ length }) => length === 0 || length > LONGEST_LABEL)) return undefined;
  const bytes = Buffer.concat([...labels.flatMap((label) => [Buffer.of(label.length), label]), Buffer.of(0)]);
  return bytes.length > LONGEST_NAME ? undefined : bytes;
}

/** Whether this is an answer to the query, which was sent under another `id`. */
export function isAnswerTo(bytes: Buffer, id: number, { question }: Query): boolean {
  if (bytes.length < HEADER_BYTES || bytes.readUInt16BE(0) !== id) return false;
  if ((bytes.readUInt16BE(2) & QR) === 0) return false;
  // A server that can't read a question can't repeat it.
  if (bytes.readUInt16BE(4) === 0) return rcodeOf(bytes) !== NOERROR;
  const repeated = bytes.subarray(HEADER_BYTES, HEADER_BYTES + question.length);
  return bytes.readUInt16BE(4) === 1 && lowerCase(repeated) === lowerCase(question);
}

/** The code in an answer's header. */
export const rcodeOf = (answer: Buffer): number => answer.readUInt16BE(2) & 15;

/** The same message under another id. */
export function withId(bytes: Uint8Array, id: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt16BE(id, 0);
  return copy;
}

const lowerCase = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1').toLowerCase();
