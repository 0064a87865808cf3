import { ringPlaces } from '#src/ui/model/layout.ts';
import { describeLink, linkKey, type MapHost, type Topology } from '#src/ui/model/topology.ts';
import { setAttribute, setText, svg } from '#src/ui/page/dom.ts';

const WIDTH = 900;
const HEIGHT = 560;
const RADIUS = 16;
/** With more hosts than this, the round trips would cover each other. */
const MOST_LABELLED = 8;

interface Half {
  readonly line: SVGLineElement;
  readonly title: SVGTitleElement;
  readonly label: SVGTextElement | undefined;
  readonly from: string;
  readonly to: string;
}

/**
 * Hosts on a ring and a line for each tunnel. The half of a line that is next to a host shows what this host sees: a tunnel that
 * works one way only has two colours. A half without a view is grey.
 */
export class RingMap {
  readonly element = svg('svg', { class: 'map', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'group' });
  readonly #choose: (key: string | undefined) => void;
  #hosts = new Map<string, { readonly group: SVGGElement; readonly subtitle: SVGTextElement }>();
  #halves: Half[] = [];
  #drawn = '';

  constructor(choose: (key: string | undefined) => void) {
    this.#choose = choose;
  }

  show(topology: Topology, chosen: string | undefined): void {
    const { hosts, byKey } = topology;
    const drawn = JSON.stringify(hosts.map(({ key, name, source }) => [key, name, source !== undefined]));
    if (drawn !== this.#drawn) this.#draw(hosts);
    this.#drawn = drawn;
    this.element.setAttribute('aria-label', `Map of ${hosts.length} hosts; the table below has the same`);
    for (const host of hosts) this.#showHost(host, chosen);
    for (const { line, title, label, from, to } of this.#halves) {
      const entry = byKey.get(linkKey(from, to));
      setAttribute(line, 'data-state', entry?.link.state ?? 'unseen');
      setAttribute(line, 'data-stale', entry?.stale ? 'yes' : undefined);
      line.classList.toggle('faded', chosen !== undefined && chosen !== from && chosen !== to);
      setText(title, entry === undefined ? 'not seen from this side' : describeLink(entry));
      if (label !== undefined) {
        const { roundTripMs, lossPercent } = entry?.link ?? {};
        const loss = lossPercent === undefined || lossPercent === 0 ? '' : ` ${lossPercent} % lost`;
        setText(label, `${roundTripMs === undefined ? '' : `${roundTripMs} ms`}${loss}`);
      }
    }
  }

  #showHost({ key, name, subnet, source }: MapHost, chosen: string | undefined): void {
    const shown = this.#hosts.get(key);
    if (shown === undefined) return;
    const { group, subtitle } = shown;
    const isStale = source !== undefined && !source.answers;
    const isReady = source?.own?.ready ?? true;
    setAttribute(group, 'aria-pressed', chosen === key ? 'true' : 'false');
    setAttribute(group, 'data-stale', isStale ? 'yes' : undefined);
    setAttribute(group, 'data-ready', isReady ? 'yes' : 'no');
    const states = [...(isStale ? ['stale'] : []), ...(isReady ? [] : ['not ready'])];
    setAttribute(group, 'aria-label', [name, subnet, ...states].filter(Boolean).join(', '));
    setText(subtitle, [subnet, ...states].filter(Boolean).join(', '));
  }

  #draw(hosts: readonly MapHost[]): void {
    const focused = this.element.contains(document.activeElement) ? document.activeElement : undefined;
    const focusedKey = focused?.getAttribute('data-host');
    this.#hosts = new Map();
    this.#halves = [];
    const seeing = hosts.filter(({ source }) => source !== undefined);
    const middle = seeing.length === 1 && hosts.length > 2 ? seeing[0] : undefined;
    const places = ringPlaces(hosts, { width: WIDTH, height: HEIGHT, middle });
    const lines: SVGElement[] = [];
    const labels: SVGElement[] = [];
    for (const [n, a] of hosts.entries()) {
      for (const b of hosts.slice(n + 1)) {
        if (a.source === undefined && b.source === undefined) continue;
        for (const [from, to] of [
          [a, b],
          [b, a],
        ] as const) {
          const [p, q] = [places.get(from.key), places.get(to.key)];
          if (p === undefined || q === undefined) continue;
          const title = svg('title');
          const ends = { x1: p.x, y1: p.y, x2: (p.x + q.x) / 2, y2: (p.y + q.y) / 2 };
          const names = { 'data-from': from.name, 'data-to': to.name };
          const line = svg('line', { class: 'link', ...ends, ...names }, title);
          const at = { x: p.x + (q.x - p.x) * 0.3, y: p.y + (q.y - p.y) * 0.3 - 6 };
          const label = hosts.length > MOST_LABELLED ? undefined : svg('text', { class: 'small', ...at });
          this.#halves.push({ line, title, label, from: from.key, to: to.key });
          lines.push(line);
          if (label !== undefined) labels.push(label);
        }
      }
    }
    const groups = hosts.map((host) => this.#drawHost(host, places.get(host.key) ?? { x: 0, y: 0 }));
    this.element.replaceChildren(...lines, ...labels, ...groups);
    if (focusedKey != null) groups.find((it) => it.getAttribute('data-host') === focusedKey)?.focus();
  }

  #drawHost({ key, name }: MapHost, { x, y }: { x: number; y: number }): SVGGElement {
    const subtitle = svg('text', { class: 'small', x, y: y + RADIUS + 28 });
    const group = svg(
      'g',
      { class: 'host', role: 'button', tabindex: 0, 'data-host': key },
      svg('circle', { cx: x, cy: y, r: RADIUS }),
      svg('text', { x, y: y + RADIUS + 14 }, name),
      subtitle,
    );
    const toggle = (): void => this.#choose(group.getAttribute('aria-pressed') === 'true' ? undefined : key);
    group.addEventListener('click', toggle);
    group.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      toggle();
    });
    this.#hosts.set(key, { group, subtitle });
    return group;
  }
}
