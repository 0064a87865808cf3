import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Backend } from '#src/backend/backend.ts';
import { publishedKey } from '#src/backend/rotation-keys.ts';
import { wireguard } from '#src/backend/wireguard-kind.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { WireguardKernel } from '#src/kernel/wireguard-kernel.ts';
import { silentEvents } from '#src/lib/host-events.ts';
import { type Ipv4, type Prefix4, parseIpv4, parsePrefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { GoObject } from '#src/network/go-json.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import { NodeSecrets } from '#src/node/backend-secrets.ts';
import { KeyRotation } from '#src/node/key-rotation.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { systemSecretFiles } from '#src/sys/secret-files.ts';
import type { ScratchNamespace } from './scratch-namespace.ts';

const ip = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const net = (text: string): Prefix4 => parsePrefix4(text) ?? assert.fail(text);

/** What all hosts read and write: leases by their names. Each change is reported to the readers, as by a watch. */
export class SharedLeases {
  readonly #leases = new Map<string, Lease>();
  readonly #readers: ((lease: Lease) => void)[] = [];

  put(name: string, attributes: LeaseAttributes): void {
    const subnet = net(name.replace('-', '/'));
    const lease: Lease = {
      name,
      subnets: { v4: subnet },
      attributes,
      expiry: { kind: 'reservation' },
      revision: 1n,
    };
    this.#leases.set(name, lease);
    for (const read of this.#readers) read(lease);
  }

  follow(read: (lease: Lease) => void): void {
    this.#readers.push(read);
  }

  attributes(name: string): LeaseAttributes | undefined {
    return this.#leases.get(name)?.attributes;
  }

  *others(name: string): Generator<Lease> {
    for (const lease of this.#leases.values()) if (lease.name !== name) yield lease;
  }
}

/**
 * A host with the WireGuard backend, the reconciler and the rotation of flanneld over a real kernel, without the daemon around
 * them: three of these fit into an emulated machine.
 */
export class RotatingHost {
  readonly name: string;
  readonly namespace: ScratchNamespace;
  readonly wireguard: WireguardKernel;
  readonly rotation: KeyRotation;
  readonly keyFile: string;
  readonly #number: number;
  readonly #leases: SharedLeases;
  readonly #kernel: RtnetlinkKernel;
  readonly #owner: Owner;
  readonly #life = new AbortController();
  #backend: Backend | undefined;

  private constructor(
    t: TestContext,
    parts: {
      number: number;
      namespace: ScratchNamespace;
      leases: SharedLeases;
      folder: string;
      patienceMs: number;
    },
  ) {
    const { number, namespace, leases, folder, patienceMs } = parts;
    this.#number = number;
    this.name = `10.5.${number}.0-24`;
    this.namespace = namespace;
    this.#leases = leases;
    this.#kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: namespace.path });
    this.wireguard = new WireguardKernel(
      { netlink: systemNetlink, clock: systemClock },
      { namespace: namespace.path },
    );
    t.after(() => {
      this.#kernel.close();
      this.wireguard.close();
    });
    this.keyFile = join(folder, `key-${number}`);
    const reconciler = new Reconciler(
      { actuators: [this.#kernel, this.wireguard], clock: systemClock, log: silentLogger },
      { fullCheckMs: 3_600_000, fullCheckShare: 1 },
    );
    this.#owner = reconciler.own({ name: this.name, scopes: () => this.#backend?.scopes ?? [] });
    this.rotation = new KeyRotation(
      {
        keys: new NodeSecrets(systemSecretFiles, { keyFile: this.keyFile }).rotated,
        figures: (device) => this.wireguard.reports(device),
        clock: systemClock,
        random: Math.random,
        log: silentLogger,
        events: silentEvents,
      },
      { intervalMs: 86_400_000, patienceMs },
    );
    this.rotation.use({
      devicesOf: (role) => this.#backend?.keyDevices?.(role) ?? [],
      leases: () => leases.others(this.name),
      apply: () => this.#apply(),
      replan: async (names) => {
        for (const lease of leases.others(this.name)) if (names.includes(lease.name)) this.#plan(lease);
      },
      isPublished: (key) => publishedKey(leases.attributes(this.name) ?? {}) === key,
    });
    this.#start = () => reconciler.start(t.signal);
  }

  readonly #start: () => Promise<void>;

  /** Its devices are made, and its lease is written. */
  static async start(
    t: TestContext,
    parts: {
      number: number;
      namespace: ScratchNamespace;
      leases: SharedLeases;
      folder: string;
      patienceMs: number;
    },
  ): Promise<RotatingHost> {
    const host = new RotatingHost(t, parts);
    await host.#start();
    await host.#apply();
    await host.rotation.settle(host.#leases.attributes(host.name) ?? assert.fail(), new Map());
    host.#owner.allowRemoval();
    host.#leases.follow((lease) => {
      if (lease.name !== host.name && !host.#life.signal.aborted) host.#plan(lease);
    });
    for (const lease of host.#leases.others(host.name)) host.#plan(lease);
    host.rotation.run(AbortSignal.any([t.signal, host.#life.signal])).catch(() => {});
    return host;
  }

  /** Nothing of it goes on but its kernel. */
  die(): void {
    this.#life.abort();
  }

  /** `10.5.1.0` */
  get address(): string {
    return `10.5.${this.#number}.0`;
  }

  async #apply(): Promise<void> {
    const before = this.#backend?.devices ?? [];
    const secrets = await this.rotation.secrets(async () => 'a');
    const own = ip(`192.0.2.${this.#number}`);
    const underlay = { name: 'u0', mtu: 1500, address: { v4: own }, publicIp: { v4: own } };
    const backend = wireguard
      .prepare({
        network: { v4: net('10.5.0.0/16') },
        options: new GoObject({}, 'Backend.'),
        identity: this.name,
        links: [],
        instance: '',
        secrets,
      })
      .make(underlay, this.#leases.attributes(this.name));
    this.#backend = backend;
    this.#owner.set(
      'own',
      backend.ownObjects({ v4: net(this.name.replace('-', '/')) }).filter(({ kind }) => kind !== 'sysctl'),
    );
    for (const lease of this.#leases.others(this.name)) this.#plan(lease);
    this.#leases.put(this.name, { publicIp: own, ...backend.published });
    await this.#owner.settled();
    assert.deepEqual(this.#owner.status.failing, []);
    const gone = before.filter((device) => !backend.devices.includes(device));
    await this.#kernel.apply(gone.map((name) => ({ verb: 'remove', object: { kind: 'link', name } })));
  }

  #plan(lease: Lease): void {
    const backend = this.#backend;
    if (backend === undefined) return;
    assert.equal(backend.judge(lease.attributes), undefined);
    const keys = this.rotation.planFor(lease);
    const path = { routeForm: 'flannel', ...(keys !== undefined && { keys }) } as const;
    this.#owner.set(lease.name, backend.peerObjects(lease, path));
  }
}
