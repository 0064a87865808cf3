import { LINK_STATES } from '#src/ui/model/feed.ts';
import { type Tiles, tileAt, tilePlace, tilesOf } from '#src/ui/model/layout.ts';
import { describeLink, linkKey, type MapHost, type MapLink, type Topology } from '#src/ui/model/topology.ts';
import { html, setText } from '#src/ui/page/dom.ts';

type Painted = 'ground' | 'ink' | 'faint' | 'line' | 'focus' | (typeof LINK_STATES)[number];

/** Of a matrix: the least and the most width of a cell. */
const LEAST_CELL = 2;
const MOST_CELL = 14;
const TILE = 22;
const LABEL = 20;

/**
 * Many hosts, on a canvas. Where one host is looked at, each of its peers is a tile, grouped by the underlay's /24. Where
 * several are, it is a matrix: a row for each host that looks, a column for each that is looked at. Marks say a state, too: a
 * cross for down, a half for degraded.
 */
export class TileMap {
  readonly element: HTMLElement;
  readonly #canvas = html('canvas', { class: 'map', role: 'img' });
  readonly #legend = html('p', { class: 'under' });
  readonly #under = html('p', { class: 'under' });
  readonly #choose: (key: string | undefined) => void;
  #topology: Topology | undefined;
  #chosen: string | undefined;
  #tiles: Tiles<MapLink> | undefined;
  #seeing: readonly MapHost[] = [];
  #cell = 0;
  #colours: Readonly<Record<Painted, string>> | undefined;

  constructor(choose: (key: string | undefined) => void) {
    this.#choose = choose;
    this.element = html('div', {}, this.#legend, this.#canvas, this.#under);
    this.#canvas.addEventListener('mousemove', (event) => {
      const entry = this.#linkAt(event);
      setText(this.#under, entry === undefined ? '' : describeLink(entry));
    });
    this.#canvas.addEventListener('click', (event) => {
      const entry = this.#linkAt(event);
      const key = this.#tiles === undefined ? entry?.from.key : entry?.to.key;
      this.#choose(key === this.#chosen ? undefined : key);
    });
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      this.#colours = undefined;
      this.#paint();
    });
    new ResizeObserver(() => this.#paint()).observe(this.element);
  }

  show(topology: Topology, chosen: string | undefined): void {
    this.#topology = topology;
    this.#chosen = chosen;
    this.#seeing = topology.hosts.filter(({ source }) => source !== undefined);
    const about = `Map of ${topology.hosts.length} hosts and ${topology.links.length} links; the table below has the same`;
    this.#canvas.setAttribute('aria-label', about);
    const tile = 'A tile for each peer, by its network on the underlay.';
    const matrix =
      'A row for each host that looks, a column for each host that it looks at, both in the order of names.';
    setText(this.#legend, `${this.#seeing.length === 1 ? tile : matrix} Cross: down. Half: degraded.`);
    this.#paint();
  }

  #paint(): void {
    const width = this.element.clientWidth;
    const context = this.#canvas.getContext('2d', { alpha: false });
    if (this.#topology === undefined || context === null || width === 0) return;
    this.#colours ??= readColours();
    if (this.#seeing.length === 1) this.#paintTiles(context, this.#topology, width);
    else this.#paintMatrix(context, this.#topology, width);
  }

  #begin(context: CanvasRenderingContext2D, width: number, height: number): void {
    const scale = devicePixelRatio || 1;
    const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
    if (this.#canvas.width !== w || this.#canvas.height !== h) {
      this.#canvas.width = w;
      this.#canvas.height = h;
      this.#canvas.style.height = `${height}px`;
    }
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.fillStyle = this.#colour('ground');
    context.fillRect(0, 0, width, height);
    context.font = '12px system-ui, sans-serif';
    context.textBaseline = 'middle';
  }

  #paintTiles(context: CanvasRenderingContext2D, { links }: Topology, width: number): void {
    const tiles = tilesOf(links, { width, size: TILE, labelHeight: LABEL, labelOf: ({ to }) => groupOf(to) });
    this.#tiles = tiles;
    this.#begin(context, width, tiles.height);
    for (const group of tiles.groups) {
      const bad = group.members.filter(
        ({ link }) => link.state === 'down' || link.state === 'degraded',
      ).length;
      context.fillStyle = this.#colour('faint');
      const about = `${group.label}: ${group.members.length} hosts${bad > 0 ? `, ${bad} not well` : ''}`;
      context.fillText(about, 2, group.y + LABEL / 2);
      for (const [n, entry] of group.members.entries()) {
        const { x, y } = tilePlace(tiles, group, n);
        this.#mark(context, entry, { x: x + 1, y: y + 1, size: TILE - 3 });
        if (entry.to.key === this.#chosen) this.#frame(context, x, y, TILE - 1, TILE - 1);
      }
    }
  }

  #paintMatrix(context: CanvasRenderingContext2D, { hosts, byKey }: Topology, width: number): void {
    this.#tiles = undefined;
    const cell = Math.max(LEAST_CELL, Math.min(MOST_CELL, Math.floor(width / Math.max(1, hosts.length))));
    this.#cell = cell;
    this.#begin(context, width, cell * this.#seeing.length);
    for (const [row, from] of this.#seeing.entries()) {
      for (const [column, to] of hosts.entries()) {
        const entry = byKey.get(linkKey(from.key, to.key));
        if (entry === undefined) continue;
        this.#mark(context, entry, { x: column * cell, y: row * cell, size: cell > 3 ? cell - 1 : cell });
      }
      if (from.key === this.#chosen) this.#frame(context, 0, row * cell, hosts.length * cell, cell);
    }
  }

  #mark(
    context: CanvasRenderingContext2D,
    { link, stale }: MapLink,
    { x, y, size }: { x: number; y: number; size: number },
  ): void {
    context.globalAlpha = stale ? 0.35 : 1;
    context.fillStyle = this.#colour(link.state);
    context.fillRect(x, y, size, size);
    context.globalAlpha = 1;
    if (size < 6 || link.state === 'up') return;
    context.fillStyle = this.#colour('ground');
    context.strokeStyle = this.#colour('ground');
    context.lineWidth = 2;
    if (link.state === 'degraded') context.fillRect(x + size / 2, y + 2, size / 2 - 2, size - 4);
    else if (link.state === 'down') {
      context.beginPath();
      context.moveTo(x + 3, y + 3);
      context.lineTo(x + size - 3, y + size - 3);
      context.moveTo(x + size - 3, y + 3);
      context.lineTo(x + 3, y + size - 3);
      context.stroke();
    } else context.fillRect(x + 3, y + 3, size - 6, size - 6);
  }

  #frame(context: CanvasRenderingContext2D, x: number, y: number, width: number, height: number): void {
    context.strokeStyle = this.#colour('focus');
    context.lineWidth = 3;
    context.strokeRect(x, y, width, height);
  }

  #linkAt({ offsetX: x, offsetY: y }: MouseEvent): MapLink | undefined {
    if (this.#tiles !== undefined) return tileAt(this.#tiles, { x, y });
    const from = this.#seeing[Math.floor(y / this.#cell)];
    const to = this.#topology?.hosts[Math.floor(x / this.#cell)];
    return from === undefined || to === undefined
      ? undefined
      : this.#topology?.byKey.get(linkKey(from.key, to.key));
  }

  #colour(name: Painted): string {
    return this.#colours?.[name] ?? '#888';
  }
}

const groupOf = ({ publicIp }: MapHost): string =>
  publicIp === undefined
    ? 'without a public IP'
    : /^\d+\.\d+\.\d+\.\d+$/.test(publicIp)
      ? publicIp.replace(/\d+$/, '0/24')
      : 'IPv6';

function readColours(): Record<Painted, string> {
  const style = getComputedStyle(document.documentElement);
  const names: Painted[] = ['ground', 'ink', 'faint', 'line', 'focus', ...LINK_STATES];
  const pairs = names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]);
  return Object.fromEntries(pairs) as Record<Painted, string>;
}
