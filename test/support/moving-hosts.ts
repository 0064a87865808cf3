import type { TestContext } from 'node:test';
import type { ContainerApi, DescribedContainer, NewContainer } from '#src/docker/container-api.ts';
import { Checkpoints } from '#src/driver/moves/checkpoints.ts';
import { IncomingMoves } from '#src/driver/moves/incoming-moves.ts';
import { MoveBook } from '#src/driver/moves/move-book.ts';
import { MoveLedger } from '#src/driver/moves/move-ledger.ts';
import { MoveOffers } from '#src/driver/moves/move-offers.ts';
import { OutgoingMoves } from '#src/driver/moves/outgoing-moves.ts';
import { WeftError } from '#src/lib/errors.ts';
import { silentLogger } from '#src/lib/log.ts';
import { MemoryRecordFolders } from '#src/registry/memory-record-folders.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';
import type { Files } from '#src/sys/files.ts';
import { systemRandom } from '#src/sys/random.ts';
import { until } from '#src/sys/until.ts';

/*
 * Container web, 10.5.0.7, goes from host 1 to host 2; the Docker of each is in memory, and no address is on two hosts.
 */

/** Who has the container's address. */
export interface World {
  holder: string | undefined;
}

/** Docker on one host: it has names and runs containers. */
export class MemoryDocker implements ContainerApi {
  readonly containers = new Map<string, DescribedContainer>();
  readonly done: string[] = [];
  /** The folders that all hosts see. */
  readonly disk: Set<string>;
  /** By `create` and so on: what happens in place of the call. */
  readonly instead = new Map<string, () => Promise<void>>();
  readonly #world: World;
  readonly #host: string;
  imageId: string | undefined = 'sha256:ab';
  /** What starts ends at once with it. */
  exitCode: number | undefined;
  ports: { ip: string; port: number; protocol: string; container: string }[] = [];

  constructor(world: World, host: string, disk: Set<string>) {
    this.#world = world;
    this.disk = disk;
    this.#host = host;
  }

  async describe(container: string) {
    return (
      this.containers.get(container) ?? [...this.containers.values()].find(({ name }) => name === container)
    );
  }

  async create({ name, config, hostConfig }: NewContainer) {
    await this.#begin('create');
    const id = `${this.#host}-${name}`;
    this.containers.set(id, { ...WEB, id, name, config, hostConfig, running: false });
    return id;
  }

  async freeze(container: string, { folder }: { folder: string }) {
    await this.#begin('freeze');
    this.disk.add(`${folder}/weft`);
    this.#halt(container);
  }

  async engine() {
    return { rootDir: '/docker', isExperimental: true };
  }

  async start(container: string, _signal?: AbortSignal, checkpoint?: string) {
    await this.#begin(checkpoint === undefined ? 'start' : 'restore');
    const there = this.containers.get(container);
    if (there === undefined) throw new WeftError('docker-refused', 'no such container');
    if (there.running) return;
    if (this.#world.holder !== undefined)
      throw new WeftError('docker-refused', `10.5.0.7 is held on ${this.#world.holder}`);
    this.#world.holder = this.#host;
    this.containers.set(container, { ...there, running: true });
    const { exitCode } = this;
    if (exitCode === undefined) return;
    this.#halt(container);
    this.containers.set(container, { ...there, exitCode, running: false });
  }

  async stop(container: string) {
    await this.#begin('stop');
    this.#halt(container);
  }

  async remove(container: string) {
    await this.#begin('remove');
    this.#halt(container);
    this.containers.delete(container);
  }

  async retire(container: string, name: string) {
    await this.#begin('retire');
    const there = this.containers.get(container);
    if (there !== undefined) this.containers.set(container, { ...there, name });
  }

  async changedFiles() {
    return 0;
  }

  async image(image: string) {
    const { imageId } = this;
    if (imageId === undefined || (image !== WEB.image && image !== imageId)) return undefined;
    return { id: imageId, layers: [imageId] };
  }

  async publishedPorts() {
    return this.ports;
  }

  async withLabel(label: string) {
    const [name = '', value] = label.split('=');
    return [...this.containers.values()]
      .filter(({ config }) => (config.Labels as Record<string, string> | undefined)?.[name] === value)
      .map(({ id }) => id);
  }

  get running(): string[] {
    return [...this.containers.values()].filter(({ running }) => running).map(({ name }) => name);
  }

  async #begin(call: string): Promise<void> {
    this.done.push(call);
    await this.instead.get(call)?.();
  }

  #halt(container: string): void {
    const there = this.containers.get(container);
    if (there === undefined || !there.running) return;
    this.#world.holder = undefined;
    this.containers.set(container, { ...there, running: false });
  }
}

export const WEB: DescribedContainer = {
  id: 'web',
  name: 'web',
  running: true,
  exitCode: 0,
  fault: '',
  imageId: 'sha256:ab',
  image: 'shop:1',
  config: { Image: 'shop:1' },
  hostConfig: { NetworkMode: 'blue', PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '8080' }] } },
  mounts: [],
  networks: [{ network: 'blue', networkId: 'b', ipv4: '10.5.0.7', ipv6: '', mac: '', aliases: [] }],
};

/** Time passes ten times as fast: a wait of ten seconds is one in which a busy machine still does all that it has to. */
const CLOCK: Clock = { ...systemClock, sleep: (ms, ended) => systemClock.sleep(ms / 10, ended) };

export interface MovingHostsOptions {
  readonly accepts?: boolean;
  /** Host 2 does nothing. */
  readonly isDead?: boolean;
}

/** Two hosts with the daemon of each. */
export async function movingHosts(
  t: TestContext,
  { accepts = true, isDead = false }: MovingHostsOptions = {},
) {
  const world: World = { holder: 'host1' };
  const folders = new MemoryRecordFolders({ clock: systemClock });
  const disk = new Set<string>();
  const dockers = [new MemoryDocker(world, 'host1', disk), new MemoryDocker(world, 'host2', disk)] as const;
  dockers[0].containers.set('web', WEB);
  const files = new Map<string, string>();

  /** The daemon of a host; it may be stopped, and another one started in its place. */
  async function daemon(number: 1 | 2) {
    const stop = new AbortController();
    const docker = dockers[number - 1] as MemoryDocker;
    const self = `host${number}`;
    const checkpoints = memoryCheckpoints(docker, disk);
    const parts = { clock: CLOCK, random: systemRandom, log: silentLogger };
    const shared = { ...parts, folders, checkpoints, containers: docker };
    const book = await MoveBook.open({ files: memoryFiles(files) }, self);
    const look = (id: string): void => void incoming.look(id, stop.signal).catch(() => {});
    const ledger = new MoveLedger(shared, { onChange: look });
    const incoming = new IncomingMoves(
      {
        ...shared,
        ledger,
        book,
        docker: {
          networks: async () => [{ id: 'b', name: 'blue', options: { 'weft.network': 'blue' }, labels: {} }],
        },
        holderOf: () => world.holder,
      },
      { self, hostName: `h${number}`, accepts: accepts && !(number === 2 && isDead) },
    );
    let made = 0;
    const hosts = () => new Map([1, 2].map((n) => [`host${n}`, { hostName: `h${n}` }]));
    const holderOf = async () => world.holder;
    const outgoing = new OutgoingMoves({ ...shared, ledger, book, hosts, holderOf });
    const offers = new MoveOffers(
      {
        ...shared,
        ledger,
        book,
        hosts,
        tenantOf: (id) => (id === 'b' ? 'blue' : undefined),
        newId: () => `move${++made}`,
      },
      { self },
    );
    const following = ledger.run(stop.signal).catch(() => {});
    await ledger.listed;
    for (const id of Object.keys(book.state.incoming)) look(id);
    const resumed = Object.keys(book.state.outgoing).map((id) =>
      outgoing.run(id, stop.signal).catch(() => {}),
    );
    const end = async (): Promise<void> => {
      stop.abort();
      await following;
    };
    t.after(end);
    return {
      docker,
      offers,
      outgoing,
      book,
      ledger,
      stop: end,
      signal: stop.signal,
      resumed: Promise.all(resumed),
    };
  }

  const one = await daemon(1);
  return { world, folders, disk, dockers, daemon, one, two: isDead ? undefined : await daemon(2) };
}

/** With a CRIU that works. */
const memoryCheckpoints = (containers: MemoryDocker, disk: Set<string>): Checkpoints =>
  new Checkpoints({
    containers,
    commands: { run: async () => ({ code: 0, stdout: '', stderr: '' }) },
    files: {
      read: async () => 'tcp-established\n',
      write: async (path) => void disk.add(path),
    },
    disk: {
      make: async () => {},
      list: async (path) =>
        [...disk].filter((it) => it.startsWith(path)).map((it) => it.slice(path.length + 1)),
      async remove(path) {
        for (const it of disk) if (it.startsWith(path)) disk.delete(it);
      },
    },
    copy: async (_, to) => void disk.add(to),
  });

const memoryFiles = (files: Map<string, string>): Files => ({
  read: async (path) => files.get(path),
  exists: (path) => files.has(path),
  write: async () => {},
  async writeAtomically(path, text) {
    files.set(path, typeof text === 'string' ? text : [...text].join(''));
  },
  append: async (path, text) => void files.set(path, `${files.get(path) ?? ''}${text}`),
  createExclusively: async () => false,
  remove: async () => {},
});

export type MovingHost = Awaited<ReturnType<typeof movingHosts>>['one'];

/** Of the moves. */
export const records = async (folders: MemoryRecordFolders) =>
  (await folders.folder('tenants/moves').list(AbortSignal.timeout(5_000))).records;

export async function assertNothingLeft(
  { folders }: { folders: MemoryRecordFolders },
  ...hosts: MovingHost[]
): Promise<void> {
  await until(async () => (await records(folders)).length === 0, { what: 'end of the records' });
  const isEmpty = ({ book }: MovingHost): boolean =>
    Object.keys({ ...book.state.outgoing, ...book.state.incoming }).length === 0;
  await until(() => hosts.every(isEmpty), { what: 'end of the books' });
}
