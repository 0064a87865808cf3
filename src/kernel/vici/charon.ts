import { ViciClient, type ViciComponents } from '#src/kernel/vici/vici-client.ts';
import { listIn, sectionsIn, textIn, type ViciSection } from '#src/kernel/vici/vici-message.ts';
import { formatIp, formatPrefix, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { childName, connectionName, type IkeConnection } from '#src/state/kinds/ike-connection.ts';

/**
 * Where charon takes connections of VICI: `${piddir}/charon.vici`, which is the first on Debian, Alpine and SUSE, as flannel
 * has it, and the second on Fedora and RHEL.
 */
export const VICI_SOCKETS: readonly string[] = ['/run/charon.vici', '/run/strongswan/charon.vici'];

/** `failed`: the hosts could not agree. A peer that does not answer is asked again and again by charon itself. */
export type ConnectionNews = 'up' | 'down' | 'failed';

/** strongSwan's charon, asked over VICI. What it refuses comes back in its own words. */
export class Charon {
  readonly #client: ViciClient;
  /** What was loaded over this connection: charon does not say proposals and keys again. */
  readonly #loaded = new Map<string, IkeConnection>();
  /** Connections whose hosts have not agreed, as charon's events say. */
  readonly #down = new Set<string>();

  constructor(client: ViciClient) {
    this.#client = client;
  }

  /** Connects to the first socket on which somebody listens; `undefined` where nobody does. */
  static async find(
    components: ViciComponents,
    sockets: readonly string[] = VICI_SOCKETS,
  ): Promise<Charon | undefined> {
    for (const path of sockets) {
      const client = await ViciClient.open(components, path).catch(() => undefined);
      if (client !== undefined) return new Charon(client);
    }
    return undefined;
  }

  get closed(): AbortSignal {
    return this.#client.closed;
  }

  close(): void {
    this.#client.close();
  }

  /** Calls back with the name of a connection of which something has changed, and whether an attempt to agree failed. */
  async listen(listener: (name: string, news: ConnectionNews) => void): Promise<void> {
    for (const event of ['ike-updown', 'child-updown'])
      await this.#client.listen(event, (message) => {
        const isUp = textIn(message, 'up') === 'yes';
        for (const [name, sa] of sectionsIn(message)) {
          if (isUp) this.#down.delete(name);
          else this.#down.add(name);
          listener(name, isUp ? 'up' : textIn(sa, 'state') === 'CONNECTING' ? 'failed' : 'down');
        }
      });
  }

  /** The names of all connections. charon reports none that was taken away. Equals `swanctl --list-conns`. */
  async names(): Promise<ReadonlySet<string>> {
    const answer = await this.#client.request('get-conns');
    return new Set(answer.done ? listIn(answer.message, 'conns') : []);
  }

  /** The connections of flannel's form. Equals `swanctl --list-conns` and `--list-sas`. */
  async list(name?: string): Promise<IkeConnection[]> {
    const only: ViciSection = name === undefined ? {} : { ike: name };
    const connections = await this.#client.list('list-conns', 'list-conn', only);
    // What charon is at work on is left out: agreeing takes it seconds on a slow host, and it would be waited for.
    const sas = await this.#client.list('list-sas', 'list-sa', { ...only, noblock: 'yes' });
    const keys = await this.#client.request('get-shared');
    const known = new Set(keys.done ? listIn(keys.message, 'keys') : []);
    const up = new Set(sas.flatMap(sectionsIn).flatMap(([each, sa]) => (isUp(sa) ? each : [])));
    return connections.flatMap(sectionsIn).flatMap(([each, section]) => {
      const ends = readEnds(each, section);
      if (ends === undefined) return [];
      const { proposal, encapsulated, secret } = this.#loaded.get(each) ?? {};
      return {
        kind: 'ike-connection' as const,
        ...ends,
        ...(proposal !== undefined && { proposal }),
        ...(encapsulated !== undefined && { encapsulated }),
        ...(secret !== undefined && known.has(keyId(each)) && { secret }),
        isUp: up.has(each) || (this.#loaded.has(each) && !this.#down.has(each)),
      };
    });
  }

  /**
   * Makes the connection, or gives it other values, and has the hosts agree. What is as it was is left alone, with its
   * states. Returns why it could not be done.
   */
  async load(connection: IkeConnection): Promise<string | undefined> {
    const name = connectionName(connection);
    const [found] = await this.list(name);
    const { secret, proposal, encapsulated } = connection;
    if (secret === undefined || proposal === undefined) return 'it has no key or no proposal';
    const isLoaded =
      found !== undefined &&
      found.proposal === proposal &&
      found.encapsulated === encapsulated &&
      found.secret?.equals(secret) === true;
    if (!isLoaded) {
      // Before the connection, which charon starts at once.
      const refused =
        (await this.#ask('load-shared', {
          id: keyId(name),
          type: 'IKE',
          data: secret.text(),
          // The peer's name is not known when charon looks for the key: flannel loads one of its own address for that.
          owners: [formatIp(connection.local), formatIp(connection.remote)],
        })) ?? (await this.#ask('load-conn', { [name]: connectionSection(connection, proposal) }));
      if (refused !== undefined) return refused;
      this.#loaded.set(name, connection);
      if (found === undefined) this.#down.delete(name);
      // One that was there already is not started again.
      if (found === undefined || found.isUp) return undefined;
    } else if (found.isUp) return undefined;
    this.#down.delete(name);
    // -1: not to wait for the peer.
    return this.#ask('initiate', { ike: name, child: childName(connection), timeout: '-1' });
  }

  /** Takes the connection and its key away and ends its states, also at the peer. */
  async unload(connection: IkeConnection): Promise<string | undefined> {
    const name = connectionName(connection);
    this.#loaded.delete(name);
    this.#down.delete(name);
    const refused = await this.#ask('unload-conn', { name });
    await this.#ask('unload-shared', { id: keyId(name) });
    // There may be none, and a peer that is gone is not waited for.
    await this.#ask('terminate', { ike: name, force: 'yes', timeout: '-1' });
    return refused !== undefined && (await this.list(name)).length > 0 ? refused : undefined;
  }

  async #ask(command: string, message: ViciSection): Promise<string | undefined> {
    const answer = await this.#client.request(command, message);
    return answer.done ? undefined : `charon refuses ${command}: ${answer.reason}`;
  }
}

/** By this charon lists a key and takes it away again; flannel's have none. */
const keyId = (connection: string): string => `weft-${connection}`;

/** As flannel loads it (backend/ipsec/handle_charon.go), but for what is said at its lines. */
function connectionSection(connection: IkeConnection, proposal: string): ViciSection {
  const { local, remote, localSubnet, remoteSubnet, encapsulated = false } = connection;
  return {
    local_addrs: [formatIp(local)],
    remote_addrs: [formatIp(remote)],
    proposals: ['aes256-sha256-modp4096'],
    version: '2',
    // As often as it takes.
    keyingtries: '0',
    encap: encapsulated ? 'true' : 'false',
    // flannel's never looks whether the peer is still there, and keeps the keys of one that was started again.
    dpd_delay: '30s',
    local: { auth: 'psk' },
    remote: { auth: 'psk' },
    children: {
      [childName(connection)]: {
        local_ts: [formatPrefix(localSubnet)],
        remote_ts: [formatPrefix(remoteSubnet)],
        esp_proposals: [proposal],
        start_action: 'start',
        // flannel's is "trap". With one reqid for all peers, charon takes the first trap there is, which may be another peer's.
        close_action: 'none',
        dpd_action: 'restart',
        mode: 'tunnel',
        reqid: String(REQUEST_ID),
        rekey_time: '1h',
        policies: 'no',
      },
    },
  };
}

/** flannel's (backend/ipsec/ipsec_network.go). */
const REQUEST_ID = 11;

/** `undefined` for a connection that is none of flannel's form. */
function readEnds(
  name: string,
  section: ViciSection,
): Pick<IkeConnection, 'local' | 'remote' | 'localSubnet' | 'remoteSubnet'> | undefined {
  const [local, remote] = ['local_addrs', 'remote_addrs'].map((list) =>
    parseIp(listIn(section, list)[0] ?? ''),
  );
  const children = section.children;
  if (typeof children !== 'object' || local === undefined || remote === undefined) return undefined;
  const [child] = sectionsIn(children as ViciSection);
  if (child === undefined) return undefined;
  const [localSubnet, remoteSubnet] = ['local-ts', 'remote-ts'].map((list) =>
    parsePrefix(listIn(child[1], list)[0] ?? ''),
  );
  if (localSubnet === undefined || remoteSubnet === undefined) return undefined;
  const ends = { local, remote, localSubnet, remoteSubnet };
  return connectionName(ends) === name ? ends : undefined;
}

/** Whether the hosts are about to agree, or have agreed and have a child. */
function isUp(sa: ViciSection): boolean {
  const state = textIn(sa, 'state') ?? '';
  if (['DELETING', 'DESTROYING'].includes(state)) return false;
  if (['CREATED', 'CONNECTING'].includes(state)) return true;
  const children = sa['child-sas'];
  if (typeof children !== 'object') return false;
  return sectionsIn(children as ViciSection).some(
    ([, child]) => !['DELETING', 'DELETED', 'DESTROYING'].includes(textIn(child, 'state') ?? ''),
  );
}
