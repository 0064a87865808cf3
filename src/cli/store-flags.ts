import type { Flag, FlagTable } from '#src/lib/go-flags.ts';

/** Prefix of the environment variables: `--user-file` is also `WEFT_STORE_USER_FILE`. */
export const STORE_ENVIRONMENT = 'WEFT_STORE_';

const string = <Default extends string>(initial: Default, description: string) =>
  ({ kind: 'string', default: initial, description }) as const satisfies Flag;

/** The address of the store, and the credentials for it. */
const STORE_CLIENT_FLAGS = {
  store: string('http://127.0.0.1:2379', '`URL` of the embedded store'),
  'store-cafile': string('', "PEM `file` with the authority that signed the store's certificate"),
  'store-certfile': string('', 'PEM `file` with the client certificate to show to the store'),
  'store-keyfile': string('', 'PEM `file` with the key of --store-certfile'),
  'store-username': string('', '`user` to log in to the store as'),
  'store-password': string('', "the user's `password`; better given as WEFT_STORE_STORE_PASSWORD"),
} as const satisfies FlagTable;

const TRANSFER_FLAGS = {
  ...STORE_CLIENT_FLAGS,
  'etcd-api': {
    kind: 'choice',
    default: 'v3',
    choices: ['v3', 'v2'],
    description: "etcd's API on the other side",
  },
  'etcd-cafile': string('', "PEM `file` with the authority that signed etcd's certificate"),
  'etcd-certfile': string('', 'PEM `file` with the client certificate to show to etcd'),
  'etcd-keyfile': string('', 'PEM `file` with the key of --etcd-certfile'),
  'etcd-username': string('', '`user` to log in to etcd as'),
  'etcd-password': string('', "the user's `password`; better given as WEFT_STORE_ETCD_PASSWORD"),
  prefix: string('', 'only keys that begin with this `text`; empty is all'),
  overwrite: {
    kind: 'bool',
    default: false,
    description: 'write into a target that has keys: those of the source replace them, others stay',
  },
  'dry-run': { kind: 'bool', default: false, description: 'report what would be written, and write nothing' },
} as const satisfies FlagTable;

/** The flags of each subcommand of `weft store`. */
export const STORE_FLAGS = {
  serve: {
    data: string(
      '/var/lib/weft/store.db',
      'the `file` that everything is kept in; it and its folder are made if they are not there',
    ),
    listen: string('127.0.0.1:2379', '`address:port` to serve on'),
    certfile: string('', 'PEM `file` with the certificate to serve TLS with'),
    keyfile: string('', 'PEM `file` with the key of --certfile'),
    cafile: string('', 'PEM `file` with an authority: only clients with a certificate of it are let in'),
    user: {
      kind: 'repeatable',
      default: [],
      description:
        '`name:password` that clients log in with; all users of the host see it, so see --user-file',
    },
    'user-file': string('', '`file` with a line name:password for each user'),
    retention: {
      kind: 'duration',
      default: 24 * 3600 * 1000,
      description: 'history older than this is compacted; 0s keeps all of it, as etcd does',
    },
    'quota-backend-bytes': {
      kind: 'int',
      default: 2 * 1024 ** 3,
      description: '`bytes` that keys and their history may take before writes are refused (NOSPACE)',
    },
    'max-request-bytes': {
      kind: 'int',
      default: 1536 * 1024,
      description: '`bytes` of the largest write, up to 10485760',
    },
    'max-txn-ops': { kind: 'int', default: 128, description: 'operations in a transaction, up to 10000' },
  },
  restore: {
    data: string('/var/lib/weft/store.db', "the `file` to make, which must not be there: serve's --data"),
  },
  snapshot: STORE_CLIENT_FLAGS,
  get: STORE_CLIENT_FLAGS,
  put: STORE_CLIENT_FLAGS,
  compact: STORE_CLIENT_FLAGS,
  export: TRANSFER_FLAGS,
  import: TRANSFER_FLAGS,
} as const satisfies Readonly<Record<string, FlagTable>>;

export type StoreCommandName = keyof typeof STORE_FLAGS;

/** The words that each subcommand takes after its flags, and its purpose. A word in brackets may be left out. */
export const STORE_USAGE: Readonly<Record<StoreCommandName, readonly [string, string]>> = {
  serve: ['', "serve etcd's v3 API from one file, so that a small site needs no etcd"],
  get: ['KEY', 'print the value of one key, as it is; exit code 1 where there is no such key'],
  put: [
    'KEY [VALUE]',
    'write one key, the value from standard input if it is not given: for hosts without etcdctl',
  ],
  snapshot: [
    'FILE',
    'write what the store has now into a file, while it runs, as etcdctl snapshot save does',
  ],
  restore: ['SNAPSHOT', "make the data of a snapshot, while the store doesn't run"],
  compact: ['', 'forget all history but the present; serve does so by itself as --retention says'],
  export: ['TARGET', "copy the store's keys to an etcd (URLs, separated by commas) or into a file"],
  import: ['SOURCE', 'copy the keys of an etcd (URLs, separated by commas) or of a file into the store'],
};
