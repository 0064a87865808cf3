import type { HostEvent, Leases, LeaseView, View as Objects, ViewSlot } from '#src/observe/api.ts';
import { EVENT_TYPES, rowOf } from '#src/ui/model/events.ts';
import type { SourceState } from '#src/ui/model/feed.ts';
import type { LiveState } from '#src/ui/model/live-state.ts';
import { standingOf } from '#src/ui/model/slots.ts';
import { clockTime, html, labelled, setOptions } from '#src/ui/page/dom.ts';
import { KeyedTable } from '#src/ui/page/keyed-table.ts';
import { ask, type View, wordsOf } from '#src/ui/page/view.ts';

/** Leases and objects are read again so often while the view is open. */
const REFRESH_MS = 5_000;
const MOST_EVENTS = 200;

/** One host's view: what it says of itself, its leases, its objects in the kernel, and events as they come. */
export class HostView implements View {
  readonly title = 'Host';
  readonly element: HTMLElement;
  readonly #choice = html('select');
  readonly #about = html('dl');
  readonly #troubles = html('ul');
  readonly #events = html('ol', { class: 'events', role: 'log', tabindex: 0, 'aria-label': 'Events' });
  readonly #eventsNote = html('p', { class: 'under', role: 'status' });
  readonly #failingOnly = html('input', { type: 'checkbox' });
  readonly #word = html('input', { type: 'search', size: 24 });
  readonly #leases: KeyedTable<LeaseView>;
  readonly #objects: KeyedTable<ViewSlot>;
  #state: LiveState | undefined;
  #wanted: string | undefined;
  #shown: string | undefined;
  #slots: readonly ViewSlot[] = [];
  #stream: EventSource | undefined;
  #timer: number | undefined;
  #aboutKey = '';
  readonly #byRow = new Map<string, HTMLLIElement>();

  constructor() {
    this.#leases = new KeyedTable(
      ({ lease }) => lease,
      [
        { title: 'Subnet', text: ({ subnet, lease }) => subnet ?? lease },
        { title: 'Public IP', text: ({ publicIp }) => publicIp ?? '' },
        { title: 'Backend', text: ({ backend }) => backend ?? '' },
        { title: 'Whose', text: ({ own }) => (own ? 'own' : 'peer') },
        {
          title: 'Expires',
          text: ({ expiry, remainingSeconds: left }) =>
            expiry === 'reservation' ? 'never' : left === undefined ? '' : `in ${Math.round(left / 60)} min`,
        },
        { title: 'Not used, because', text: ({ quarantined }) => quarantined ?? '' },
      ],
    );
    this.#objects = new KeyedTable(
      ({ key, owner }) => `${owner} ${key}`,
      [
        { title: 'Kind', text: ({ kind }) => kind },
        { title: 'For', text: ({ subject }) => subject ?? '' },
        { title: 'Wanted', className: 'code', text: ({ wanted }) => wanted ?? '' },
        {
          title: 'Found',
          className: 'code',
          text: (slot) => (standingOf(slot) === 'as wanted' ? 'as wanted' : (slot.found ?? 'nothing')),
        },
        { title: 'Failure', text: ({ failure }) => failure ?? '' },
      ],
    );
    this.#choice.addEventListener('change', () => {
      location.hash = `#/host/${this.#choice.value}`;
    });
    this.#failingOnly.addEventListener('change', () => this.#showObjects());
    this.#word.addEventListener('input', () => this.#showObjects());
    this.element = html(
      'section',
      { 'aria-label': 'Host' },
      html('div', { class: 'bar' }, labelled('Host', this.#choice)),
      this.#troubles,
      this.#about,
      html('h2', {}, 'Events'),
      this.#eventsNote,
      this.#events,
      html('h2', {}, 'Leases'),
      this.#leases.element,
      html('h2', {}, 'Objects in the kernel'),
      html(
        'div',
        { class: 'bar' },
        labelled('Only what is not as wanted', this.#failingOnly),
        labelled('Show only objects with', this.#word),
      ),
      this.#objects.element,
    );
  }

  open([id]: readonly string[]): void {
    this.#wanted = id;
    this.#timer = setInterval(() => void this.#refresh(), REFRESH_MS);
    this.#show();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#stream?.close();
    this.#shown = undefined;
  }

  update(state: LiveState): void {
    this.#state = state;
    this.#show();
  }

  #show(): void {
    const sources = [...(this.#state?.sources.values() ?? [])];
    setOptions(
      this.#choice,
      sources.map((source) => [source.id, nameOf(source)]),
    );
    const source = sources.find(({ id }) => id === this.#wanted) ?? sources[0];
    if (source === undefined) return;
    this.#choice.value = source.id;
    this.#showAbout(source);
    if (source.id === this.#shown) return;
    this.#shown = source.id;
    this.#slots = [];
    this.#followEvents(source.id);
    void this.#refresh();
  }

  #showAbout({ own, answers, since, why, links }: SourceState): void {
    const key = JSON.stringify([own, answers, since, why, links.length]);
    if (key === this.#aboutKey) return;
    this.#aboutKey = key;
    const facts: [string, string | undefined][] = [
      ['State', answers ? (own?.ready ? 'ready' : 'NOT READY') : `stale since ${clockTime(since)}: ${why}`],
      ['Subnet', own?.subnet === undefined ? undefined : `${own.subnet} of ${own.range}`],
      ['Backend', own?.backend === undefined ? undefined : `${own.backend}, MTU ${own.mtu}`],
      ['Public IP', own?.publicIp],
      ['Registry', own?.registry],
      ['Peers', String(links.length)],
      [
        'Objects',
        own?.wanted === undefined
          ? undefined
          : `${own.wanted - (own.failing ?? 0)} of ${own.wanted} as wanted, ${own.repairs} repairs since the start`,
      ],
      ['Version', own === undefined ? undefined : `weft ${own.version}, node ${own.node}`],
    ];
    this.#about.replaceChildren(
      ...facts.flatMap(([name, text]) =>
        text === undefined ? [] : [html('dt', {}, name), html('dd', {}, text)],
      ),
    );
    this.#troubles.replaceChildren(
      ...(own?.troubles ?? []).map((trouble) => html('li', { class: 'trouble' }, trouble)),
    );
  }

  async #refresh(): Promise<void> {
    const id = this.#shown;
    if (id === undefined) return;
    const [leases, view] = await Promise.allSettled([
      ask<Leases>(`/api/v1/${id}/leases`),
      ask<Objects>(`/api/v1/${id}/view`),
    ]);
    if (id !== this.#shown) return;
    const rows = leases.status === 'fulfilled' ? (leases.value.leases ?? []) : [];
    const failed = leases.status === 'rejected' ? `: ${wordsOf(leases.reason)}` : '';
    this.#leases.show(rows, `${rows.length} leases${failed}`);
    if (view.status === 'fulfilled') this.#slots = view.value.slots ?? [];
    this.#showObjects(view.status === 'rejected' ? wordsOf(view.reason) : '');
  }

  #showObjects(failure = ''): void {
    const word = this.#word.value.trim().toLowerCase();
    const rows = this.#slots
      .filter((slot) => !this.#failingOnly.checked || standingOf(slot) === 'not as wanted')
      .filter(({ key, kind, subject, wanted = '', failure = '' }) =>
        `${key} ${kind} ${subject} ${wanted} ${failure}`.toLowerCase().includes(word),
      )
      .sort((a, b) => Number(b.failure !== undefined) - Number(a.failure !== undefined));
    this.#objects.show(rows, `${rows.length} of ${this.#slots.length} objects${failure && `: ${failure}`}`);
  }

  #followEvents(id: string): void {
    this.#stream?.close();
    this.#byRow.clear();
    this.#events.replaceChildren();
    this.#eventsNote.textContent = 'connecting';
    const stream = new EventSource(`/api/v1/${id}/events`);
    this.#stream = stream;
    const take = ({ data }: MessageEvent): void => this.#showEvent(JSON.parse(String(data)) as HostEvent);
    for (const type of EVENT_TYPES) stream.addEventListener(type, take);
    stream.addEventListener('open', () => {
      this.#eventsNote.textContent = 'as they come';
    });
    stream.addEventListener('error', () => {
      this.#eventsNote.textContent = `stale since ${new Date().toLocaleTimeString('en-GB')}: no events come`;
    });
  }

  #showEvent(event: HostEvent): void {
    const { at, type, severity, subject, text, count } = event;
    const times = count > 1 ? ` (${count} times)` : '';
    const item = html(
      'li',
      { 'data-severity': severity },
      html('time', { datetime: at }, clockTime(at)),
      ' ',
      html('b', {}, type),
      ` ${subject}: ${text}${times}`,
    );
    const row = rowOf(event);
    this.#byRow.get(row)?.remove();
    this.#byRow.set(row, item);
    this.#events.prepend(item);
    while (this.#events.children.length > MOST_EVENTS) this.#events.lastElementChild?.remove();
    if (this.#byRow.size <= 2 * MOST_EVENTS) return;
    for (const [row, item] of this.#byRow) if (!item.isConnected) this.#byRow.delete(row);
  }
}

const nameOf = ({ host, network, kind }: SourceState): string =>
  [host, network, kind === 'driver' ? "Docker's driver" : undefined].filter(Boolean).join(', ');
