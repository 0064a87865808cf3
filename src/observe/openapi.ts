import { VERSION } from '#src/lib/version.ts';
import type { Answers } from '#src/observe/api.ts';
import { EVENTS_TYPE } from '#src/observe/event-stream.ts';
import { SCHEMAS, type Schema } from '#src/observe/openapi-schemas.ts';

interface ApiPath {
  readonly summary: string;
  /** The schema of its answer. */
  readonly answer: string;
  /** The socket of Docker's driver has it, too; `only-host`: with this schema. */
  readonly driver?: true | { readonly answer: string };
}

/** Version 1 of the local API. The documents and their test are made from this table. */
export const API_PATHS: Readonly<Record<keyof Answers, ApiPath>> = {
  '/v1/status': {
    summary: 'whether packets flow as they should, and what the node knows in short',
    answer: 'NodeStatus',
    driver: { answer: 'HostStatus' },
  },
  '/v1/peers': {
    summary: 'the other hosts: lease, address, whether they are programmed, what was measured',
    answer: 'Peers',
  },
  '/v1/leases': {
    summary: 'all leases of the network and how full it is, as the registry last showed them here',
    answer: 'Leases',
  },
  '/v1/view': {
    summary: 'everything that is wanted or was found in the kernel, slot by slot',
    answer: 'View',
    driver: true,
  },
  '/v1/events': {
    summary:
      'what happened on this host, newest last; with `Accept: text/event-stream` each event as it comes',
    answer: 'Events',
    driver: true,
  },
  '/v1/counters': { summary: 'the figures of `/metrics`, of the whole host', answer: 'Counters' },
};
const DOCUMENT_PATH = '/v1/openapi';

const answerOf = (schema: Schema, description: string, more: Schema = {}): Schema => ({
  description,
  content: { 'application/json': { schema }, ...more },
});
const refusalOf = (description: string): Schema =>
  answerOf({ $ref: '#/components/schemas/Refusal' }, description);
const AFTER: Schema = {
  name: 'after',
  in: 'query',
  required: false,
  description: 'only events with a greater id; an id of an earlier run gives all',
  schema: { type: 'integer', minimum: 0 },
};

/** The schema of a path's answer, on the socket of a network or of Docker's driver. */
export function schemaOf(path: keyof Answers, socket: 'network' | 'driver'): string | undefined {
  const { answer, driver } = API_PATHS[path];
  if (socket === 'network') return answer;
  return driver === undefined ? undefined : driver === true ? answer : driver.answer;
}

/** OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0): docs/reference/openapi.json, and the answer of `/v1/openapi`. */
export function openApiDocument(): Schema {
  const paths = Object.keys(API_PATHS).map((path) => [path, pathItem(path as keyof Answers)]);
  return {
    openapi: '3.1.0',
    info: {
      title: 'weft, the local API of a node',
      version: VERSION,
      description:
        'HTTP over unix sockets that only root may use: one for each network of the host, and one of Docker’s driver. ' +
        'Each answer has the header `weft-api: 1`. Version 1 may get more fields; what is there stays.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    paths: {
      ...Object.fromEntries(paths),
      [DOCUMENT_PATH]: {
        get: {
          summary: 'this document',
          operationId: 'openapi',
          responses: { 200: answerOf({ type: 'object' }, 'OpenAPI 3.1') },
        },
      },
    },
    components: { schemas: SCHEMAS },
  };
}

function pathItem(path: keyof Answers): Schema {
  const { summary } = API_PATHS[path];
  const names = [schemaOf(path, 'network'), schemaOf(path, 'driver')].filter((name) => name !== undefined);
  const [schema, ...others] = [...new Set(names)].map((name) => ({ $ref: `#/components/schemas/${name}` }));
  const isEvents = path === '/v1/events';
  const stream = {
    [EVENTS_TYPE]: {
      schema: {
        type: 'string',
        description:
          'server-sent events: `id`, `event` (the type), and a HostEvent as `data`; a comment each 10 s',
      },
    },
  };
  return {
    get: {
      summary,
      operationId: path.slice('/v1/'.length),
      ...(isEvents && { parameters: [AFTER] }),
      responses: {
        200: answerOf(
          others.length === 0 ? (schema ?? {}) : { anyOf: [schema, ...others] },
          API_PATHS[path].answer,
          isEvents ? stream : {},
        ),
        ...(isEvents && { 400: refusalOf('`after` is not the id of an event') }),
        404: refusalOf('the socket has no such path'),
        405: refusalOf('the API is only read'),
        500: refusalOf('it could not be answered'),
        ...(path === '/v1/leases' && { 503: refusalOf('the network is not up yet') }),
      },
    },
  };
}

/** docs/reference/openapi.json */
export const openApiText = (): string => `${JSON.stringify(openApiDocument(), undefined, 2)}\n`;

const BEGIN = '<!-- paths: written by script/generate-docs from src/observe/openapi.ts -->';
const END = '<!-- end of paths -->';

/** docs/reference/local-api.md with its table of paths. */
export function withPathTable(page: string): string {
  const [before = '', rest = ''] = page.split(BEGIN);
  const [, after = ''] = rest.split(END);
  const rows = Object.entries(API_PATHS).map(
    ([path, { summary, answer, driver }]) =>
      `| \`${path}\` | ${summary} | \`${answer}\` | ${driver === undefined ? '' : 'yes'} |`,
  );
  const table = [
    '| path | what it answers | schema | Docker’s driver has it |',
    '| --- | --- | --- | --- |',
    ...rows,
    `| \`${DOCUMENT_PATH}\` | the OpenAPI document | | yes |`,
  ];
  return `${before}${BEGIN}\n\n${table.join('\n')}\n\n${END}${after}`;
}
