import { MOST_ON_RING } from '#src/ui/model/layout.ts';
import type { LiveState } from '#src/ui/model/live-state.ts';
import {
  countStates,
  linkKey,
  type MapLink,
  networksOf,
  STATE_WORDS,
  topologyOf,
  worstFirst,
} from '#src/ui/model/topology.ts';
import { html, labelled, setOptions, setText, stateMark } from '#src/ui/page/dom.ts';
import { KeyedTable } from '#src/ui/page/keyed-table.ts';
import { RingMap } from '#src/ui/page/ring-map.ts';
import { TileMap } from '#src/ui/page/tile-map.ts';
import type { View } from '#src/ui/page/view.ts';

/** The hosts, their tunnels, and what each host sees of them: as a map, and as a table. */
export class MapView implements View {
  readonly title = 'Map';
  readonly element: HTMLElement;
  readonly #network = html('select');
  readonly #networkField = labelled('Network', this.#network);
  readonly #filter = html('input', { type: 'search', size: 24 });
  readonly #counts = html('ul', { class: 'counts', 'aria-label': 'Links by state' });
  readonly #place = html('div');
  readonly #chosenText = html('p', { class: 'under' });
  readonly #ring: RingMap;
  readonly #tiles: TileMap;
  readonly #table: KeyedTable<MapLink>;
  #state: LiveState | undefined;
  #chosen: string | undefined;
  #countsKey = '';

  constructor() {
    const choose = (key: string | undefined): void => {
      this.#chosen = key;
      this.#show();
    };
    this.#ring = new RingMap(choose);
    this.#tiles = new TileMap(choose);
    this.#table = new KeyedTable(
      ({ from, to }) => linkKey(from.key, to.key),
      [
        { title: 'From', text: ({ from }) => from.name, node: ({ from }) => hostLink(from) },
        { title: 'To', text: ({ to }) => to.name, node: ({ to }) => hostLink(to) },
        { title: 'Subnet', text: ({ to }) => to.subnet ?? '' },
        {
          title: 'State',
          text: ({ link, stale }) => `${STATE_WORDS[link.state]}${stale ? ' (stale)' : ''}`,
          node: ({ link, stale }) =>
            stateMark(link.state, `${STATE_WORDS[link.state]}${stale ? ' (stale)' : ''}`),
        },
        {
          title: 'Round trip',
          className: 'number',
          text: ({ link: { roundTripMs: ms } }) => (ms === undefined ? '' : `${ms} ms`),
        },
        {
          title: 'Loss',
          className: 'number',
          text: ({ link: { lossPercent: loss } }) => (loss === undefined ? '' : `${loss} %`),
        },
        { title: 'MTU that works', className: 'number', text: ({ link }) => String(link.workingMtu ?? '') },
        { title: 'What is wrong', text: ({ link }) => link.reason ?? '' },
      ],
    );
    this.#network.addEventListener('change', () => this.#show());
    this.#filter.addEventListener('input', () => this.#show());
    this.element = html(
      'section',
      { 'aria-label': 'Map' },
      html('div', { class: 'bar' }, this.#networkField, this.#counts),
      this.#place,
      this.#chosenText,
      html('h2', {}, 'Links'),
      html('div', { class: 'bar' }, labelled('Show only links with', this.#filter)),
      this.#table.element,
    );
  }

  open(): void {
    this.#show();
  }

  close(): void {}

  update(state: LiveState): void {
    this.#state = state;
    this.#show();
  }

  #show(): void {
    if (this.#state === undefined) return;
    const sources = [...this.#state.sources.values()];
    const networks = networksOf(sources);
    setOptions(
      this.#network,
      networks.map((name) => [name, name === '' ? 'the only one' : name]),
    );
    this.#networkField.hidden = networks.length < 2;
    const topology = topologyOf(sources, networks.length < 2 ? (networks[0] ?? '') : this.#network.value);
    if (!topology.hosts.some(({ key }) => key === this.#chosen)) this.#chosen = undefined;
    const map = topology.hosts.length <= MOST_ON_RING ? this.#ring : this.#tiles;
    if (this.#place.firstChild !== map.element) this.#place.replaceChildren(map.element);
    map.show(topology, this.#chosen);
    this.#showCounts(topology.links);
    const chosen = topology.hosts.find(({ key }) => key === this.#chosen);
    setText(
      this.#chosenText,
      chosen === undefined ? 'Choose a host to see its links only.' : `Links of ${chosen.name}.`,
    );
    const word = this.#filter.value.trim().toLowerCase();
    const rows = worstFirst(
      topology.links
        .filter(({ from, to }) => chosen === undefined || from === chosen || to === chosen)
        .filter((entry) => word === '' || searchText(entry).includes(word)),
    );
    this.#table.show(rows, `${rows.length} of ${topology.links.length} links, the worst first`);
  }

  #showCounts(links: readonly MapLink[]): void {
    const counts = countStates(links);
    const key = JSON.stringify(counts);
    if (key === this.#countsKey) return;
    this.#countsKey = key;
    this.#counts.replaceChildren(
      ...counts.map(([state, count]) => html('li', {}, stateMark(state, `${count} ${STATE_WORDS[state]}`))),
    );
  }
}

const searchText = ({ from, to, link }: MapLink): string =>
  [from.name, to.name, to.subnet, to.publicIp, STATE_WORDS[link.state], link.reason].join(' ').toLowerCase();

const hostLink = ({ name, source }: MapLink['from']): HTMLElement | string =>
  source === undefined ? name : html('a', { href: `#/host/${source.id}` }, name);
