import type { HostEvent } from '#src/observe/api.ts';

/*
 * Events as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): one block of lines for
 * each, its name the event's type, its data the event as JSON.
 */

export const EVENTS_TYPE = 'text/event-stream';

/** In each answer of version 1 of the local API; a daemon from before it does not have it. */
export const VERSION_HEADER = 'weft-api';

/** An event as it is sent. */
export const formatEvent = (event: HostEvent): string =>
  `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;

/** A comment, which readers ignore: it shows that the daemon is there. */
export const HEARTBEAT = ':\n\n';

/** A block of more characters than this is not an event of ours. */
const LONGEST_BLOCK = 65_536;

/** Takes the text of an answer in pieces of any length, and returns the events that have come whole. */
export class EventLines {
  #rest = '';

  take(chunk: string): HostEvent[] {
    const blocks = (this.#rest + chunk).split('\n\n');
    this.#rest = blocks.pop() ?? '';
    if (this.#rest.length > LONGEST_BLOCK) throw new RangeError(`more than ${LONGEST_BLOCK} characters`);
    return blocks.flatMap((block) => {
      const data = block.split('\n').find((line) => line.startsWith('data: '));
      return data === undefined ? [] : (JSON.parse(data.slice('data: '.length)) as HostEvent);
    });
  }
}
