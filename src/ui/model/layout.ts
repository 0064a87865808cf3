import type { MapHost } from '#src/ui/model/topology.ts';

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Up to so many hosts stand on a ring, each tunnel a line. With more of them the lines hide each other. */
export const MOST_ON_RING = 40;

/** Hosts on an ellipse, the first at the top; the one in `middle` in its centre. */
export function ringPlaces(
  hosts: readonly MapHost[],
  {
    width,
    height,
    middle,
  }: { readonly width: number; readonly height: number; readonly middle?: MapHost | undefined },
): Map<string, Point> {
  const around = hosts.filter((host) => host !== middle);
  const places = new Map<string, Point>();
  const centre = { x: width / 2, y: height / 2 };
  if (middle !== undefined) places.set(middle.key, centre);
  for (const [n, host] of around.entries()) {
    const angle = (2 * Math.PI * n) / around.length - Math.PI / 2;
    places.set(host.key, {
      x: centre.x + Math.cos(angle) * width * 0.4,
      y: centre.y + Math.sin(angle) * height * 0.4,
    });
  }
  return places;
}

/** Tiles of one group, in rows. */
export interface TileGroup<T> {
  readonly label: string;
  readonly members: readonly T[];
  /** Of the label's line. */
  readonly y: number;
}

export interface Tiles<T> {
  readonly groups: readonly TileGroup<T>[];
  readonly columns: number;
  /** Side of a tile with its gap. */
  readonly size: number;
  readonly labelHeight: number;
  readonly height: number;
}

/** One tile for each member, grouped by a label, in as many columns as fit. */
export function tilesOf<T>(
  members: readonly T[],
  {
    width,
    size,
    labelHeight,
    labelOf,
  }: {
    readonly width: number;
    readonly size: number;
    readonly labelHeight: number;
    readonly labelOf: (member: T) => string;
  },
): Tiles<T> {
  const columns = Math.max(1, Math.floor(width / size));
  const byLabel = Map.groupBy(members, labelOf);
  const groups: TileGroup<T>[] = [];
  let y = 0;
  for (const [label, inGroup] of byLabel) {
    groups.push({ label, members: inGroup, y });
    y += labelHeight + Math.ceil(inGroup.length / columns) * size + size / 2;
  }
  return { groups, columns, size, labelHeight, height: y };
}

/** The corner of a member's tile. */
export function tilePlace<T>(tiles: Tiles<T>, group: TileGroup<T>, index: number): Point {
  return {
    x: (index % tiles.columns) * tiles.size,
    y: group.y + tiles.labelHeight + Math.floor(index / tiles.columns) * tiles.size,
  };
}

/** Whose tile is at a point. */
export function tileAt<T>(tiles: Tiles<T>, { x, y }: Point): T | undefined {
  const group = tiles.groups.findLast((it) => it.y <= y);
  if (group === undefined) return undefined;
  const row = Math.floor((y - group.y - tiles.labelHeight) / tiles.size);
  const column = Math.floor(x / tiles.size);
  if (row < 0 || column < 0 || column >= tiles.columns) return undefined;
  return group.members[row * tiles.columns + column];
}
