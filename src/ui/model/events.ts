import type { HostEvent, HostEventType } from '#src/observe/api.ts';

/** The names under which the API sends its events; the compiler sees that none is missing. */
const TYPES: Readonly<Record<HostEventType, true>> = {
  start: true,
  ready: true,
  'not-ready': true,
  registry: true,
  lease: true,
  peer: true,
  repair: true,
  failure: true,
  probe: true,
  config: true,
  rotation: true,
  underlay: true,
};
export const EVENT_TYPES = Object.keys(TYPES);

/** The row of an event that happens again: it comes with another id and a greater count, and takes the place of the one before. */
export const rowOf = ({ type, subject, text, firstAt }: HostEvent): string =>
  JSON.stringify([type, subject, text, firstAt]);
