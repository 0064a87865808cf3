import type { CallWord, FlanneldCall } from '#src/cli/import-flannel/flanneld-call.ts';
import { WeftError } from '#src/lib/errors.ts';
import { addEnvironment, type FlagTable, type FlagValue, parseFlags, variableOf } from '#src/lib/go-flags.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';

/** One of flanneld's flags with the value that flannel has. */
export interface Setting {
  /** `etcd-endpoints` */
  readonly flag: string;
  /** Several for a flag that was repeated. */
  readonly values: readonly string[];
  readonly source: string;
  readonly isSecret: boolean;
}

export interface Conversion {
  readonly settings: readonly Setting[];
  /** Which of two values was taken. */
  readonly choices: readonly string[];
  /** What was not taken over, and what is different here: one line each. */
  readonly notes: readonly string[];
}

/** flannel's and not ours: those of early flannels, of some of its years with Kubernetes, and of its log. */
const GONE: FlagTable = {
  remote: { kind: 'string', default: '', description: 'weft asks etcd itself and not another flannel' },
  'remote-keyfile': { kind: 'string', default: '', description: 'weft asks etcd itself' },
  'remote-certfile': { kind: 'string', default: '', description: 'weft asks etcd itself' },
  'remote-cafile': { kind: 'string', default: '', description: 'weft asks etcd itself' },
  listen: { kind: 'string', default: '', description: 'each weft asks etcd itself' },
  'subnet-dir': { kind: 'string', default: '', description: 'subnet files are in /run/flannel/networks' },
  'use-multi-cluster-cidr': { kind: 'bool', default: false, description: "it is for Kubernetes' leases" },
  logtostderr: { kind: 'bool', default: false, description: 'weft logs to standard error' },
  alsologtostderr: { kind: 'bool', default: false, description: 'weft logs to standard error' },
  stderrthreshold: { kind: 'string', default: '', description: 'weft logs to standard error' },
  log_dir: { kind: 'string', default: '', description: 'weft logs to standard error' },
};

/** Flags of flannel that are accepted here and do nothing. */
const WITHOUT_EFFECT: Readonly<Record<string, string>> = {
  log_backtrace_at: 'it has no effect here',
  'kube-api-url': 'it has no effect without kube-subnet-mgr',
  'kube-annotation-prefix': 'it has no effect without kube-subnet-mgr',
  'kubeconfig-file': 'it has no effect without kube-subnet-mgr',
  'net-config-path': 'it has no effect without kube-subnet-mgr',
  'set-node-network-unavailable': 'it has no effect without kube-subnet-mgr',
};

/** Of early flannels. Later ones refuse them as flags, and do not see them as variables. */
const OLD_FLAGS: ReadonlySet<string> = new Set(['networks', 'watch-networks']);

/**
 * A call of flannel in the terms of weft's flanneld: a flag wins over a variable, as in flannel.
 *
 * @throws WeftError `import-kubernetes` for a flannel whose leases are Kubernetes'
 */
export function convertCall(call: FlanneldCall): Conversion {
  const notes = [...call.notes];
  const { given, words } = readFlags(call.words, notes);
  const environment = variablesOf(call, notes);
  const all = addEnvironment(flannelFlags(), given, ENVIRONMENT_PREFIX, environment);
  for (const problem of all.problems) notes.push(`not taken over, as flannel ignores it: ${problem}`);
  if (all.given.get('kube-subnet-mgr') === true)
    throw new WeftError(
      'import-kubernetes',
      'flannel takes its leases from Kubernetes here (kube-subnet-mgr), and weft can not do that yet',
      {
        remedy: 'leave flannel in place',
      },
    );
  const settings: Setting[] = [];
  const choices: string[] = [];
  for (const [flag, value] of all.given) {
    const variable = variableOf(ENVIRONMENT_PREFIX, flag);
    const found = call.variables.get(variable);
    const source = given.has(flag) ? sourceOf(flag, words) : `${variable} in ${found?.source}`;
    const reason = reasonToLeave(flag);
    if (flag === 'kube-subnet-mgr' || flag === 'version') continue;
    if (reason !== undefined) {
      notes.push(`-${flag} (${source}) is not taken over: ${reason}`);
      continue;
    }
    if (
      given.has(flag) &&
      found !== undefined &&
      found.value !== '' &&
      found.value !== textsOf(flag, value).join()
    )
      choices.push(`-${flag} (${source}) is taken and not ${variable} in ${found.source}, as flannel does`);
    const isSecret = 'secret' in (FLANNELD_FLAGS[flag as keyof typeof FLANNELD_FLAGS] ?? {});
    settings.push({ flag, values: textsOf(flag, value), source, isSecret });
  }
  notes.push(...strangers(call), ...differences(settings));
  return { settings: settings.sort(inOrder), choices, notes };
}

const ORDER = Object.keys(FLANNELD_FLAGS);
const inOrder = (a: Setting, b: Setting): number => ORDER.indexOf(a.flag) - ORDER.indexOf(b.flag);

/** All that a flannel of any version knows. */
function flannelFlags(): FlagTable {
  const known = Object.entries(FLANNELD_FLAGS).filter(
    ([name, { since }]) => since !== 'weft' || OLD_FLAGS.has(name),
  );
  return { ...Object.fromEntries(known), ...GONE };
}

const reasonToLeave = (flag: string): string | undefined => GONE[flag]?.description ?? WITHOUT_EFFECT[flag];

interface ReadFlags {
  readonly given: ReadonlyMap<string, FlagValue>;
  /** Those that were read. */
  readonly words: readonly CallWord[];
}

/** A word that flannel would refuse is left out, with a note: the others count. */
function readFlags(words: readonly CallWord[], notes: string[]): ReadFlags {
  let left = [...words];
  for (;;) {
    const texts = left.map(({ text }) => text);
    const parsed = parseFlags(flannelFlags(), texts);
    if (parsed.outcome === 'parsed') {
      const [first] = parsed.rest;
      if (first !== undefined)
        notes.push(
          `the command line from ${first} on is not taken over: flags end at the first word that is none, in flannel too`,
        );
      return { given: parsed.given, words: left.slice(0, left.length - parsed.rest.length) };
    }
    const name = parsed.outcome === 'help' ? 'help' : flagOf(parsed.message);
    const at = left.findIndex(
      ({ text }) => namesFlag(text, name) || (name === 'help' && namesFlag(text, 'h')),
    );
    const bad = left[at];
    const isUnknown = parsed.outcome === 'invalid' && parsed.message.includes('not defined');
    const why = isUnknown ? 'no flannel has such a flag' : 'flannel can not read it';
    notes.push(`-${name} (${bad?.source ?? 'the command line'}) is not taken over: ${why}`);
    const hasValue = bad?.text.includes('=') === false && left[at + 1]?.text.startsWith('-') === false;
    left = left.filter((_, index) => index !== at && !(hasValue && index === at + 1));
    if (at < 0) left = left.slice(0, -1);
  }
}

/** The flag that one of Go's messages is about. */
const flagOf = (message: string): string =>
  /.*(?:for flag|for|defined:|argument:|syntax:) -([^\s:]+)/s.exec(message)?.[1] ?? '';

const namesFlag = (word: string, flag: string): boolean =>
  [`-${flag}`, `--${flag}`].some((name) => word === name || word.startsWith(`${name}=`));

/** Variables that a flannel of today sees. */
function variablesOf(call: FlanneldCall, notes: string[]): Record<string, string> {
  const names = new Map(
    Object.keys(flannelFlags()).map((flag) => [variableOf(ENVIRONMENT_PREFIX, flag), flag]),
  );
  const seen: Record<string, string> = {};
  for (const [name, { value, source }] of call.variables) {
    if (!name.startsWith(ENVIRONMENT_PREFIX) || call.used.has(name)) continue;
    const flag = names.get(name);
    if (flag === undefined || OLD_FLAGS.has(flag))
      notes.push(`${name} in ${source} is not taken over: it means nothing to flannel`);
    else seen[name] = value;
  }
  return seen;
}

/** Variables that are none of flannel's own. */
function strangers({ variables, used }: FlanneldCall): string[] {
  return [...variables].flatMap(([name, { source }]) => {
    if (name.startsWith(ENVIRONMENT_PREFIX) || used.has(name)) return [];
    const about =
      ABOUT_VARIABLES.find(([pattern]) => pattern.test(name))?.[1] ?? 'it is no setting of flannel';
    return [`${name} in ${source} is not taken over: ${about}`];
  });
}

const ABOUT_VARIABLES: readonly (readonly [RegExp, string])[] = [
  [
    /^(FLANNEL_(IMAGE|IMG|VER)|RKT_|ETCD_SSL_DIR)/,
    "it is about the image that flannel runs in; weft's flanneld is a program of the host",
  ],
  [/^ETCDCTL_/, 'it is for the etcdctl that the unit runs'],
  [/^FLANNEL_(ETCD|OPT)/, "flannel's unit does not use it"],
  [/^DOCKER_/, "it is Docker's"],
];

/** What works otherwise under weft's unit. */
function differences(settings: readonly Setting[]): string[] {
  const notes: string[] = [];
  for (const { flag, values } of settings) {
    const [value = ''] = values;
    if (flag === 'subnet-file' && value !== FLANNELD_FLAGS['subnet-file'].default)
      notes.push(
        `the subnet file is ${value}: give mk-docker-opts the same with -f, and weft's unit the right to write there with ReadWritePaths=`,
      );
    if (flag === 'healthz-port' && Number(value) > 0 && Number(value) < 1024)
      notes.push(`healthz-port is ${value}: below 1024 weft's unit needs CAP_NET_BIND_SERVICE`);
    if (flag === 'etcd-keyfile')
      notes.push(`weft's unit reads as root without CAP_DAC_OVERRIDE: ${value} has to be owned by root`);
    if (/file$/.test(flag) && /^\/(home|root|run\/user|tmp|var\/tmp)\//.test(value))
      notes.push(`${value} can not be seen from weft's unit (ProtectHome=, PrivateTmp=): move it below /etc`);
    if (flag === 'networks' || flag === 'watch-networks')
      notes.push(
        `-${flag} is of early flannels; here each network has a device and chains of its own, and its subnet file is /run/flannel/networks/NAME.env`,
      );
  }
  return notes;
}

function textsOf(flag: string, value: FlagValue): string[] {
  if (typeof value !== 'object') return [String(value)];
  return flannelFlags()[flag]?.kind === 'list' ? [value.join(',')] : [...value];
}

const sourceOf = (flag: string, words: readonly CallWord[]): string =>
  words.findLast(({ text }) => namesFlag(text, flag))?.source ?? '';
