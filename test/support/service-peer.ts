import { CONFIG, PREFIX } from './flanneld.ts';
import type { SystemdHost } from './systemd-host.ts';

export const STORE = 'http://192.0.2.1:2379';
const FLAGS = [`--etcd-endpoints=${STORE}`, `--etcd-prefix=${PREFIX}`, '--state-dir=/var/lib/peer'];

/** Files of a {@link SystemdHost} whose registry is weft-store.service. */
export const SETTINGS = {
  'weft/store.conf': 'WEFT_STORE_LISTEN=192.0.2.1:2379\n',
  'weft/flanneld.conf': `FLANNELD_ETCD_ENDPOINTS=${STORE}\nFLANNELD_ETCD_PREFIX=${PREFIX}\nFLANNELD_IP_MASQ=true\n`,
};

/** The peer's unit: a flanneld with all rights in the network namespace `peer`, whose folders are its own. */
export const PEER_UNIT = `[Service]
Type=notify
NetworkNamespacePath=/run/netns/peer
RuntimeDirectory=peer
StateDirectory=peer
ExecStart=flanneld ${FLAGS.join(' ')} --ip-masq --subnet-file=/run/peer/subnet.env --docker-driver=off
`;

export function writeConfig(host: SystemdHost, config = CONFIG): void {
  host.must(['weft', 'store', 'put', `--store=${STORE}`, `${PREFIX}/config`, config]);
}

/** Puts the namespace of the peer at the underlay. */
export function addPeer(host: SystemdHost): void {
  ip(host, 'netns add peer');
  ip(host, 'link add to-peer type veth peer name eth0 netns peer');
  ip(host, 'link set to-peer master eth0 up');
  ip(host, '-n peer link set lo up');
  ip(host, '-n peer link set eth0 up');
  ip(host, '-n peer address add 192.0.2.2/24 dev eth0');
  ip(host, '-n peer route add default via 192.0.2.254');
}

/** A container on the subnet of a subnet.env, by veth and docker0, in a network namespace of that name. Its address. */
export function addContainer(
  host: SystemdHost,
  name: string,
  place: { readonly namespace?: string; readonly subnetFile: string },
): string {
  const gateway = /^FLANNEL_SUBNET=(.*)\/24$/m.exec(host.must(['cat', place.subnetFile]))?.[1] ?? '';
  const address = gateway.replace(/\.1$/, '.2');
  const there = place.namespace === undefined ? '' : `-n ${place.namespace} `;
  const peer = place.namespace === undefined ? '' : `netns ${place.namespace} `;
  ip(host, `netns add ${name}`);
  ip(host, `${there}link add docker0 mtu 1450 type bridge`);
  ip(host, `${there}address add ${gateway}/24 dev docker0`);
  ip(host, `${there}link set docker0 up`);
  ip(host, `link add veth-c mtu 1450 ${peer}type veth peer name eth0 mtu 1450 netns ${name}`);
  ip(host, `${there}link set veth-c master docker0 up`);
  ip(host, `-n ${name} address add ${address}/24 dev eth0`);
  ip(host, `-n ${name} link set eth0 up`);
  ip(host, `-n ${name} route add default via ${gateway}`);
  return address;
}

/** Waits for an answer: the first packet of a path may wait for neighbours, and for devices that came up a moment ago. */
export const pingFrom = (host: SystemdHost, container: string, address: string): string =>
  ip(host, `netns exec ${container} ping -n -c 1 -w 10 ${address}`);

/**
 * Runs a command of weft as on the peer's own machine: of network namespaces it finds its own and that of `container`, so
 * that it has to ask the other host for all that is there.
 */
export function onPeer(host: SystemdHost, container: string, words: readonly string[]) {
  const script = `set -e
touch /var/lib/peer/ns && mount --bind /run/netns/${container} /var/lib/peer/ns
mount -t tmpfs tmpfs /run
mkdir /run/netns && touch /run/netns/${container} && mount --bind /var/lib/peer/ns /run/netns/${container}
exec weft "$@"`;
  const alone = ['unshare', '--mount', '--pid', '--fork', '--mount-proc', 'sh', '-c', script, 'sh'];
  const [command = '', ...rest] = words;
  return host.run(['nsenter', '--net=/run/netns/peer', '--', ...alone, command, ...FLAGS, ...rest]);
}

const ip = (host: SystemdHost, words: string): string => host.must(['ip', ...words.split(' ')]);
