/** What counts in a WatchResponse (etcd's rpc.proto, src/etcd/rpc.proto). */
export interface WatchAnswer {
  /** -1 in the answer to a request for progress. */
  watchId: number;
  created: boolean;
  /** Canceled, or the revision asked for is compacted. */
  ended: boolean;
  /** Of the header: all there was when it was sent. */
  revision: number;
  events: number;
}

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

const HEADER = 1;
const HEADER_REVISION = 3;
const WATCH_ID = 2;
const CREATED = 3;
const CANCELED = 4;
const COMPACT_REVISION = 5;
const EVENTS = 11;

/**
 * Reads the fields that a played host needs and skips the rest: an event that goes to 50,000 watches is not decoded
 * 50,000 times.
 */
export function readWatchAnswer(bytes: Buffer): WatchAnswer {
  const answer: WatchAnswer = { watchId: 0, created: false, ended: false, revision: 0, events: 0 };
  eachField(bytes, 0, bytes.length, (field, value, start, end) => {
    switch (field) {
      case HEADER:
        eachField(bytes, start, end, (inner, number) => {
          if (inner === HEADER_REVISION) answer.revision = number;
        });
        break;
      case WATCH_ID:
        answer.watchId = value;
        break;
      case CREATED:
        answer.created = value !== 0;
        break;
      case CANCELED:
      case COMPACT_REVISION:
        answer.ended ||= value !== 0;
        break;
      case EVENTS:
        answer.events++;
        break;
    }
  });
  return answer;
}

/** `value` of a varint; `start` and `end` of a field of bytes. A negative number is -1, as no other one occurs. */
function eachField(
  bytes: Buffer,
  from: number,
  to: number,
  visit: (field: number, value: number, start: number, end: number) => void,
): void {
  let at = from;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++] ?? 0;
      value += (byte & 127) * scale;
      if (byte < 128) return value >= 2 ** 63 ? -1 : value;
    }
  };
  while (at < to) {
    const tag = varint();
    const field = tag >>> 3;
    switch (tag & 7) {
      case VARINT:
        visit(field, varint(), at, at);
        break;
      case BYTES: {
        const length = varint();
        visit(field, 0, at, at + length);
        at += length;
        break;
      }
      case FIXED64:
        at += 8;
        break;
      case FIXED32:
        at += 4;
        break;
      default:
        throw new RangeError(`no wire type ${tag & 7}`);
    }
  }
}
