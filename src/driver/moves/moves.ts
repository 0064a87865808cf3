import { join } from 'node:path';
import type { DockerApi } from '#src/docker/docker-api.ts';
import type { EndpointBook } from '#src/driver/endpoint-book.ts';
import type { HostDirectory } from '#src/driver/host-directory.ts';
import { Checkpoints, type CheckpointsComponents } from '#src/driver/moves/checkpoints.ts';
import { IncomingMoves } from '#src/driver/moves/incoming-moves.ts';
import { MoveBook, moveBookPath } from '#src/driver/moves/move-book.ts';
import { MoveLedger } from '#src/driver/moves/move-ledger.ts';
import { MoveOffers } from '#src/driver/moves/move-offers.ts';
import { MoveServer } from '#src/driver/moves/move-server.ts';
import { OutgoingMoves } from '#src/driver/moves/outgoing-moves.ts';
import type { PresentTenants } from '#src/driver/present-tenants.ts';
import { messageOf } from '#src/lib/errors.ts';
import { parseIp } from '#src/lib/ip.ts';
import { Lifetime } from '#src/lib/lifetime.ts';
import type { Logger } from '#src/lib/log.ts';
import { orAborted } from '#src/lib/or-aborted.ts';
import type { RecordFolders } from '#src/registry/records.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Files } from '#src/sys/files.ts';
import type { HostLocks } from '#src/sys/host-lock.ts';
import type { Random } from '#src/sys/random.ts';
import { parseAddress } from '#src/tenant/address-codec.ts';

export interface MovesComponents extends Omit<CheckpointsComponents, 'files'> {
  readonly folders: RecordFolders;
  readonly docker: Pick<DockerApi, 'networks'>;
  readonly book: EndpointBook;
  readonly hosts: HostDirectory;
  readonly present: PresentTenants;
  readonly files: Files;
  readonly locks: HostLocks;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface MovesOptions {
  /** The identity of this host. */
  readonly self: string;
  readonly hostName: string;
  readonly stateDir: string;
  /** Containers are made here for other hosts: `--accept-moves`. */
  readonly accepts: boolean;
}

/** Where `weft move` finds the daemon. */
export const movesSocket = (stateDir: string): string => join(stateDir, 'moves.sock');

/** Containers that move between this host and others: what the user asks for, and what the registry says. */
export class Moves {
  readonly #components: MovesComponents;
  readonly #options: MovesOptions;

  constructor(components: MovesComponents, options: MovesOptions) {
    this.#components = components;
    this.#options = options;
  }

  /** Goes on with what is under way, and takes new moves, until the signal aborts. */
  async run(signal: AbortSignal): Promise<never> {
    const { stateDir } = this.#options;
    const { log } = this.#components;
    const life = new Lifetime(signal);
    const book = await MoveBook.open(this.#components, moveBookPath(stateDir));
    const look = (id: string): void => life.run((ended) => incoming.look(id, ended));
    const ledger = new MoveLedger(this.#components, { onChange: look });
    const checkpoints = new Checkpoints(this.#components);
    const parts = { ...this.#components, checkpoints, ledger, book };
    const incoming = new IncomingMoves(
      { ...parts, holderOf: (tenant, ip) => this.#knownHolderOf(tenant, ip) },
      this.#options,
    );
    const hosts = () => this.#components.hosts.known;
    const outgoing = new OutgoingMoves({
      ...parts,
      hosts,
      holderOf: (tenant, ip, ended) => this.#holderOf(tenant, ip, ended),
    });
    const offers = new MoveOffers(
      {
        ...parts,
        hosts,
        tenantOf: (networkId) => this.#components.book.state.networks[networkId],
        newId: () => this.#newId(),
      },
      this.#options,
    );
    const server = new MoveServer(
      {
        offers,
        outgoing,
        signal: life.signal,
        locks: this.#components.locks,
        onBegun: (id) => life.run((ended) => outgoing.run(id, ended)),
      },
      { socket: movesSocket(stateDir) },
    );
    try {
      life.run((ended) => ledger.run(ended));
      await orAborted(ledger.listed, life.signal);
      for (const id of Object.keys(book.state.outgoing)) life.run((ended) => outgoing.run(id, ended));
      for (const id of Object.keys(book.state.incoming)) look(id);
      await server
        .start()
        .catch((error: unknown) => log.warning(`"weft move" is not served: ${messageOf(error)}`));
      return await life.ended();
    } finally {
      await server.stop();
      await life.stop();
    }
  }

  #knownHolderOf(tenant: string, text: string): string | undefined {
    const ip = parseIp(text);
    const record = ip === undefined ? undefined : this.#components.present.get(tenant)?.addresses.get(ip);
    return record?.state === 'published' ? record.host : undefined;
  }

  async #holderOf(tenant: string, ip: string, signal: AbortSignal): Promise<string | undefined> {
    const stored = await this.#components.folders.folder(`tenants/addresses/${tenant}`).read(ip, signal);
    const read = stored && parseAddress(stored.name, stored.value);
    return read?.ok && read.value.state === 'published' ? read.value.host : undefined;
  }

  #newId(): string {
    const { clock, random } = this.#components;
    const part = Math.floor(random() * 2 ** 32);
    return `${clock.now().toString(36)}-${part.toString(36)}`;
  }
}
