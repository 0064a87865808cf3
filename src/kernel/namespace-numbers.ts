import { attributes, i32, struct, u8, u32 } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { OtherNamespaces } from '#src/kernel/device-names.ts';
import { MessageLayout, type Request } from '#src/kernel/message.ts';
import type { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import { WeftError } from '#src/lib/errors.ts';
import { HOST_NAMESPACE } from '#src/state/kinds/veth.ts';
import { closeNetworkNamespace, openNetworkNamespace } from '#src/sys/network-namespace.ts';

/** struct rtgenmsg, as long as NETNSA_* are aligned */
const HEADER = struct({ family: u8, pad1: u8, pad2: u8, pad3: u8 });
const MESSAGE = new MessageLayout(
  HEADER,
  attributes({ number: [k.NETNSA_NSID, i32], file: [k.NETNSA_FD, u32] }),
);

/** `ip netns list-id target-nsid …`, the other way round: the number of an open namespace. */
const numberQuery = (file: number): Request => MESSAGE.request(k.RTM_GETNSID, 0, {}, { file });

/** `ip netns set NAME auto` */
const numberRequest = (file: number): Request =>
  MESSAGE.request(k.RTM_NEWNSID, 0, {}, { file, number: k.NETNSA_NSID_NOT_ASSIGNED });

/** Other namespaces as one namespace's kernel names them: by open files, and by numbers (nsid) that each namespace has for itself. */
export class NamespaceNumbers implements OtherNamespaces {
  readonly #client: RtnetlinkClient;
  readonly #host: string | undefined;
  #hostId: number | undefined;

  /** `client` is in the namespace that is programmed; `host` is the path of the host's, by default the process's own. */
  constructor(client: RtnetlinkClient, host: string | undefined) {
    this.#client = client;
    this.#host = host;
  }

  open(namespace: string): number | undefined {
    try {
      return openNetworkNamespace(namespace === HOST_NAMESPACE ? this.#host : namespace);
    } catch (error) {
      if (error instanceof WeftError) return undefined;
      throw error;
    }
  }

  close(file: number): void {
    closeNetworkNamespace(file);
  }

  /** A namespace keeps its number as long as both live. It gets one when there is none. */
  hostId(): number | undefined {
    this.#hostId ??= this.#numberOfHost();
    return this.#hostId;
  }

  /** The number that a namespace has in the client's; `undefined` when it has none, or there is no such namespace. */
  numberOf(namespace: string): number | undefined {
    const file = this.open(namespace);
    if (file === undefined) return undefined;
    try {
      return this.#ask(file);
    } finally {
      this.close(file);
    }
  }

  #numberOfHost(): number | undefined {
    const file = this.open(HOST_NAMESPACE);
    if (file === undefined) return undefined;
    try {
      const known = this.#ask(file);
      if (known !== undefined) return known;
      this.#client.send(this.#client.prepare([numberRequest(file)]));
      return this.#ask(file);
    } finally {
      this.close(file);
    }
  }

  #ask(file: number): number | undefined {
    const answer = this.#client.request(numberQuery(file));
    if ('error' in answer) return undefined;
    const number = MESSAGE.read(answer.message)?.values.number;
    return number === k.NETNSA_NSID_NOT_ASSIGNED ? undefined : number;
  }
}
