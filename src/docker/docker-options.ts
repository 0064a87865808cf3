import { WeftError } from '#src/lib/errors.ts';

/** Environment variables by name: the caller's own, overlaid with those of subnet.env. */
export type Variables = Readonly<Record<string, string | undefined>>;

export interface DockerOptionsShape {
  /** One variable, `DOCKER_OPT_*`, for each option. */
  readonly individual: boolean;
  /** The name of the one variable that holds all options; `undefined` for none. */
  readonly combined: string | undefined;
  /** Whether `--ip-masq` is written: dockerd masquerades when flanneld does not. */
  readonly ipMasq: boolean;
  /** Further `DOCKER_OPT_*` variables, which go along with a subnet only. */
  readonly further?: Readonly<Record<string, string>>;
}

const OPTION = /^DOCKER_OPT_/;

/**
 * The options dockerd needs for the overlay as an environment file, byte for byte what flannel's mk-docker-opts.sh
 * writes under dash where there are no further ones: a `DOCKER_OPT_*` variable of the caller is taken along, all are in alphabetical order, a value that
 * the combined variable has already comes first. Unlike the script's, the file stays readable to a shell and to systemd
 * when such a value holds quotes, and a value with blanks stays whole.
 *
 * Throws WeftError `docker-options` when FLANNEL_IPMASQ is neither true nor false.
 */
export function formatDockerOptions(
  variables: Variables,
  { individual, combined, ...shape }: DockerOptionsShape,
): string {
  const options = dockerOptions(variables, shape);
  const lines = individual ? options.map(([name, value]) => assignment(name, value)) : [];
  if (combined !== undefined) {
    const handWritten = variables[combined] ?? '';
    const start = handWritten === '' ? '' : `${handWritten} `;
    lines.push(assignment(combined, start + options.map(([, value]) => ` ${value}`).join('')));
  }
  return lines.map((line) => `${line}\n`).join('');
}

/**
 * MTUs above the overlay's that were written into the variables by hand. Containers would send
 * packets that don't fit the tunnel: small ones pass and large ones don't.
 */
export function oversizedMtus(
  environment: Variables,
  combinedKey: string,
  overlayMtu: string | undefined,
): number[] {
  const limit = Number(overlayMtu);
  return ownValues(environment, combinedKey)
    .flatMap((value) => Array.from(value.matchAll(/--?mtu[= ]"?(\d+)/g), ([, mtu]) => Number(mtu)))
    .filter((mtu) => mtu > limit);
}

/** All that the caller's own variables say to dockerd; Debian's unit keeps its options in DOCKER_OPTS. */
export const handWritten = (environment: Variables, combinedKey: string): string =>
  [...ownValues(environment, combinedKey), environment.DOCKER_OPTS ?? ''].join(' ');

const ownValues = (environment: Variables, combinedKey: string): string[] =>
  Object.entries(environment)
    .filter(([name]) => name === combinedKey || OPTION.test(name))
    .map(([, value = '']) => value);

/** The options by the names of their variables, in alphabetical order. Throws as {@link formatDockerOptions} does. */
export function dockerOptions(
  variables: Variables,
  { ipMasq, further = {} }: Pick<DockerOptionsShape, 'ipMasq' | 'further'>,
): [name: string, value: string][] {
  const { FLANNEL_SUBNET: subnet, FLANNEL_MTU: mtu, FLANNEL_IPMASQ: masquerades } = variables;
  const options: Record<string, string | undefined> = Object.fromEntries(
    Object.entries(variables).filter(([name]) => OPTION.test(name)),
  );
  Object.assign(options, further);
  if (subnet) options.DOCKER_OPT_BIP = `--bip=${subnet}`;
  if (mtu) options.DOCKER_OPT_MTU = `--mtu=${mtu}`;
  if (masquerades && ipMasq) {
    if (masquerades !== 'true' && masquerades !== 'false') {
      throw new WeftError('docker-options', `Invalid value of FLANNEL_IPMASQ: ${masquerades}`, {
        remedy: 'it is true or false in the file that flanneld writes',
      });
    }
    options.DOCKER_OPT_IPMASQ = `--ip-masq=${masquerades !== 'true'}`;
  }
  return Object.entries(options)
    .map(([name, value = '']): [string, string] => [name, value])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

/** In double quotes, with what shells and systemd would act upon escaped. */
const assignment = (name: string, value: string): string => `${name}="${value.replace(/["\\$`]/g, '\\$&')}"`;
