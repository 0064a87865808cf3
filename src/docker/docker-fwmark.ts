/** The environment variable that flanneld and mk-docker-opts read; flanneld's flag is `--docker-fwmark`. */
export const DOCKER_FWMARK_VARIABLE = 'FLANNELD_DOCKER_FWMARK';
export const DEFAULT_DOCKER_FWMARK = '0x2000';

/** Bits that kube-proxy sets to mean "masquerade this" and "drop this" (pkg/proxy/iptables and nftables). */
const KUBE_PROXY_BITS = [0x4000, 0x8000];

/** One bit of a packet's mark, and 0 for none; or why the text names no usable bit. */
export type DockerFwmark = { readonly mark: number } | { readonly problem: string };

/**
 * Reads `0x2000`, `8192` or `0x2000/0x2000`: the bit by which Docker's `--bridge-accept-fwmark` knows the overlay's packets.
 * An empty text and `0` switch the mark off.
 */
export function parseDockerFwmark(text: string): DockerFwmark {
  if (text === '') return { mark: 0 };
  const numbers = text.split('/').map(parseNumber);
  const [value] = numbers;
  const mask = numbers.length === 1 ? value : numbers[1];
  if (value === undefined || mask === undefined || numbers.length > 2) {
    return { problem: 'expect a number such as 0x2000, or 0 for no mark' };
  }
  if (value === 0) return { mark: 0 };
  if (value !== mask || value > 0x8000_0000 || !Number.isInteger(Math.log2(value))) {
    return { problem: 'expect one single bit such as 0x2000' };
  }
  if (KUBE_PROXY_BITS.includes(value)) return { problem: 'kube-proxy uses this bit; take another' };
  return { mark: value };
}

/** As dockerd's `--bridge-accept-fwmark` and iptables' `--set-xmark` write it: value and mask. */
export const formatDockerFwmark = (mark: number): string => `${hex(mark)}/${hex(mark)}`;

const hex = (value: number): string => `0x${value.toString(16)}`;

const parseNumber = (text: string): number | undefined =>
  /^(0x[0-9a-f]{1,8}|[0-9]{1,10})$/i.test(text) ? Number(text) : undefined;
