import type {
  Backend,
  BackendKind,
  BackendPlace,
  BackendUnderlay,
  PreparedBackend,
  Published,
} from '#src/backend/backend.ts';
import { type ExtensionOptions, readExtensionOptions } from '#src/backend/extension-options.ts';
import type { BackendJobs, CommandJob, ShellCommand } from '#src/backend/job.ts';
import { formatIp, formatPrefix, masked, type Prefix4, type Prefix6 } from '#src/lib/ip.ts';
import { FAMILY_NAMES, type PerFamily } from '#src/lib/per-family.ts';
import type { Json, Lease, LeaseAttributes } from '#src/network/lease.ts';

/**
 * flannel's extension backend (v0.9.1 and HEAD, backend/extension): commands of the operator make the ways between the hosts.
 * They are run by `sh -c` with their values in the environment, as v0.9.1 does and HEAD's documentation says; HEAD itself splits
 * the text at blanks and pastes the values into it.
 */
export const extension: BackendKind = {
  type: 'extension',
  prepare: (place) => new PreparedExtension(place),
  // What the commands made is not known.
  leftovers: () => [],
};

class PreparedExtension implements PreparedBackend {
  readonly type = extension.type;
  readonly instance: string;
  readonly devices = [];
  readonly settings: PreparedBackend['settings'];
  readonly inPlace = [];
  readonly requirements = [];
  readonly preparation?: ShellCommand;
  readonly #options: ExtensionOptions;
  readonly #network: BackendPlace['network'];

  constructor({ instance, network, options }: BackendPlace) {
    this.instance = instance;
    this.#network = network;
    this.#options = readExtensionOptions(options);
    const { preStartup, postStartup, subnetAdd, subnetRemove, shutdown, devices } = this.#options;
    this.settings = {
      PreStartupCommand: preStartup,
      PostStartupCommand: postStartup,
      SubnetAddCommand: subnetAdd,
      SubnetRemoveCommand: subnetRemove,
      ShutdownCommand: shutdown,
      Devices: devices.join(' '),
    };
    if (preStartup !== undefined)
      this.preparation = { name: 'PreStartupCommand', text: preStartup, variables: {}, stdin: '\n' };
  }

  check(): readonly string[] {
    const { subnetAdd } = this.#options;
    return subnetAdd === undefined
      ? ['the backend extension has no SubnetAddCommand: nothing is done for the other hosts']
      : [];
  }

  make(underlay: BackendUnderlay, taken: Partial<Published> = {}, output?: string): Backend {
    // Without the output (a plan runs nothing) the lease keeps what it has.
    const data = output ?? (this.preparation === undefined ? undefined : textOf(taken.backendData));
    return new ExtensionBackend(this.#options, this.#network, underlay, data);
  }
}

class ExtensionBackend implements Backend {
  readonly type = extension.type;
  readonly devices = [];
  readonly mtu: number;
  readonly needsLookup = false;
  readonly published: Published;
  readonly shared = {};
  readonly inbound: Backend['inbound'];
  readonly scopes = [];
  /** Where its packets go is the commands' business. */
  readonly probing = undefined;
  readonly jobs: BackendJobs;
  readonly #options: ExtensionOptions;
  readonly #network: BackendPlace['network'];
  readonly #underlay: BackendUnderlay;

  constructor(
    options: ExtensionOptions,
    network: BackendPlace['network'],
    underlay: BackendUnderlay,
    data: string | undefined,
  ) {
    this.#options = options;
    this.#network = network;
    this.#underlay = underlay;
    this.mtu = underlay.mtu;
    this.published = { backendType: this.type, ...(data !== undefined && { backendData: data }) };
    // Without a name of a device, packets may come by any, and by routes over the underlay.
    const isUnknown = options.devices.length === 0;
    this.inbound = { devices: options.devices, underlay: isUnknown, others: isUnknown };
    this.jobs = {
      own: (subnets) => this.#ownJobs(subnets),
      peer: (lease) => this.#peerJobs(lease),
    };
  }

  ownObjects(): [] {
    return [];
  }

  peerObjects(): [] {
    return [];
  }

  judge({ backendType, backendData }: LeaseAttributes): string | undefined {
    if (backendType !== this.type) return `its backend is "${backendType}", ours is "${this.type}"`;
    // As Go reads it into a string: null is an empty one.
    return textOf(backendData) === undefined ? 'its BackendData is no text' : undefined;
  }

  #ownJobs(subnets: PerFamily<Prefix4, Prefix6>): readonly CommandJob[] {
    const { postStartup, shutdown } = this.#options;
    const { publicIp } = this.#underlay;
    const variables = this.#variables(subnets, publicIp);
    const command = (name: string, text: string): ShellCommand => ({ name, text, variables, stdin: '\n' });
    const jobs: CommandJob[] = [];
    // The last to be taken back, as it was the first.
    if (shutdown !== undefined) {
      const stop = command('ShutdownCommand', shutdown);
      jobs.push({ kind: 'command', key: 'ShutdownCommand', atEnd: 'stop', stop });
    }
    if (postStartup !== undefined) {
      const start = command('PostStartupCommand', postStartup);
      jobs.push({ kind: 'command', key: 'PostStartupCommand', atEnd: 'leave', start });
    }
    return jobs;
  }

  #peerJobs({ subnets, attributes }: Lease): readonly CommandJob[] {
    const { subnetAdd, subnetRemove } = this.#options;
    if (subnetAdd === undefined && subnetRemove === undefined) return [];
    const { publicIp, publicIpv6, backendData } = attributes;
    const variables = this.#variables(subnets, {
      ...(publicIp !== undefined && { v4: publicIp }),
      ...(publicIpv6 !== undefined && { v6: publicIpv6 }),
    });
    const stdin = `${textOf(backendData) ?? ''}\n`;
    const names = FAMILY_NAMES.flatMap((family) => {
      const subnet = subnets[family];
      return subnet === undefined ? [] : formatPrefix(masked(subnet));
    });
    const command = (name: string, text: string): ShellCommand => ({ name, text, variables, stdin });
    return [
      {
        kind: 'command',
        key: `the subnet ${names.join(' and ')}`,
        atEnd: 'leave',
        ...(subnetAdd !== undefined && { start: command('SubnetAddCommand', subnetAdd) }),
        ...(subnetRemove !== undefined && { stop: command('SubnetRemoveCommand', subnetRemove) }),
      },
    ];
  }

  /** All five, always: an address or a subnet that there is not is empty. */
  #variables(
    subnets: PerFamily<Prefix4, Prefix6>,
    publicIp: BackendUnderlay['publicIp'],
  ): Readonly<Record<string, string>> {
    const { v4 } = this.#network;
    return {
      NETWORK: v4 === undefined ? '' : formatPrefix(masked(v4)),
      SUBNET: subnets.v4 === undefined ? '' : formatPrefix(masked(subnets.v4)),
      IPV6SUBNET: subnets.v6 === undefined ? '' : formatPrefix(masked(subnets.v6)),
      PUBLIC_IP: publicIp.v4 === undefined ? '' : formatIp(publicIp.v4),
      PUBLIC_IPV6: publicIp.v6 === undefined ? '' : formatIp(publicIp.v6),
    };
  }
}

/** A JSON string; without one, or with null, an empty text; `undefined` for anything else. */
function textOf(data: Json | undefined): string | undefined {
  if (data === undefined || data === null) return '';
  return typeof data === 'string' ? data : undefined;
}
