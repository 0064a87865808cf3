import {
  containsAddress,
  formatIp,
  type Ip,
  ipv4,
  ipv6,
  isIpv4,
  type Prefix,
  parseIp,
  parsePrefix,
} from '#src/lib/ip.ts';

export interface MaskOptions {
  /** Values that are masked wherever they stand: passwords that flags and variables gave. */
  readonly secrets: readonly string[];
  /** Addresses that stay beside private ones: the overlay's own networks. */
  readonly keep: readonly Prefix[];
  /** Whether public addresses are replaced. Secrets always are. */
  readonly addresses: boolean;
}

/** What is in the place of a secret. */
export const MASKED = '***';

/** A name whose value is a secret: of a flag, a variable, a field, a header. */
const SECRET =
  '(?:password|passwd|passphrase|pass|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|preshared[_-]?key|psk|credentials?|signature)';
/** `etcd-password`, `FLANNELD_ETCD_PASSWORD`, `clientSecret`; not `passes` and `bypass`. */
const SECRET_NAME = `(?:[\\w.-]*[_.-])?${SECRET}(?:[_.-]?(?:data|value|id))?|[a-z][A-Za-z0-9]*(?:Password|Passphrase|Secret|Token|ApiKey|AccessKey|PrivateKey|PresharedKey|Credentials?)`;
/** To the end of a quoted text, or to a blank: a password may have a comma. */
const VALUE = `(?:"(?:[^"\\\\\\n]|\\\\.)*"|'[^'\\n]*'|[^\\s"']+)`;

const RULES: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN ([A-Z ]*PRIVATE KEY)-----[\s\S]*?(?:-----END \1-----|$)/g, `[private key ${MASKED}]`],
  // user:password@host of a URL; a password may have an @ itself.
  [/(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/"'<>]*@/gi, `$1${MASKED}@`],
  [
    /\b((?:proxy-)?authorization|(?:set-)?cookie|x-registry-auth|x-auth-token)(["']?\s*[:=]\s*["']?)[^\r\n"']+/gi,
    `$1$2${MASKED}`,
  ],
  [/\b(bearer|basic)\s+[\w.~+/-]{8,}=*/gi, `$1 ${MASKED}`],
  // A JSON web token.
  [/\beyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*/g, MASKED],
  // As JSON writes a list of words: "--etcd-password", "x".
  [new RegExp(`("-{1,2}(?:${SECRET_NAME})"\\s*,\\s*)${VALUE}`, 'gi'), `$1"${MASKED}"`],
  // --etcd-password x
  [new RegExp(`((?:^|[\\s"'])-{1,2}(?:${SECRET_NAME})\\s+)(?!-)${VALUE}`, 'gi'), `$1${MASKED}`],
];

/** `name=value`, `name: value`, `"name": "value"`. */
const NAMED_VALUE = new RegExp(
  `(?<![\\w-])(-{0,2}(?:${SECRET_NAME})["']?\\s*(?:=|:(?!//))\\s*)(?=(["']?))${VALUE}`,
  'gi',
);

/** Takes secrets out of texts, and public addresses, each of which has the same placeholder in all of them. */
export class Masker {
  readonly #options: MaskOptions;
  readonly #secrets: readonly string[];
  readonly #placeholders = new Map<Ip, string>();
  #v4 = 0;
  #v6 = 0;

  constructor(options: MaskOptions) {
    this.#options = options;
    // One that is part of another comes behind it. A shorter one would be found in words.
    this.#secrets = [...new Set(options.secrets)]
      .filter((secret) => secret.length >= SHORTEST_SECRET)
      .sort((a, b) => b.length - a.length);
  }

  /** How many addresses were replaced so far. */
  get replaced(): number {
    return this.#placeholders.size;
  }

  mask(text: string): string {
    let masked = text;
    for (const secret of this.#secrets) {
      masked = masked.replaceAll(secret, MASKED);
      const inJson = JSON.stringify(secret).slice(1, -1);
      if (inJson !== secret) masked = masked.replaceAll(inJson, MASKED);
      const inUrl = encodeURIComponent(secret);
      if (inUrl !== secret) masked = masked.replaceAll(inUrl, MASKED);
    }
    for (const [pattern, replacement] of RULES) masked = masked.replace(pattern, replacement);
    masked = masked.replace(
      NAMED_VALUE,
      (_, name: string, quote: string) => `${name}${quote}${MASKED}${quote}`,
    );
    return this.#options.addresses ? this.#withoutAddresses(masked) : masked;
  }

  #withoutAddresses(text: string): string {
    return text
      .replace(IPV4, (found) => this.#placeholder(found))
      .replace(IPV4_IN_NAME, (found) => {
        const placeholder = this.#placeholder(found.replaceAll('-', '.'));
        return placeholder.replaceAll('.', '-');
      })
      .replace(IPV6, (found) => this.#placeholder(found));
  }

  #placeholder(text: string): string {
    const ip = parseIp(text);
    if (ip === undefined || !isPublic(ip) || this.#options.keep.some((prefix) => containsAddress(prefix, ip)))
      return text;
    const known = this.#placeholders.get(ip);
    if (known !== undefined) return known;
    const made = isIpv4(ip)
      ? v4Placeholder(this.#v4++)
      : formatIp(ipv6(DOCUMENTATION_V6 + BigInt(++this.#v6)));
    this.#placeholders.set(ip, made);
    return made;
  }
}

const SHORTEST_SECRET = 4;
const IPV4 = /(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)/g;
/** `ec2-198-51-100-7`, `ip-198-51-100-7`: names that clouds give their machines. */
const IPV4_IN_NAME = /(?<=[a-z]\d*-)\d{1,3}(?:-\d{1,3}){3}(?![\d-])/gi;
const IPV6 = /(?<![\w:.])[0-9a-f]{1,4}:[0-9a-f:]+(?![\w:])/gi;

/** RFC 5737's three networks, then RFC 2544's, which has 131,072. */
function v4Placeholder(count: number): string {
  const blocks = [0xcb007100, 0xc6336400, 0xc0000200];
  const block = blocks[Math.floor(count / 254)];
  const address = block === undefined ? 0xc6120000 + ((count - 762) % 0x20000) : block + 1 + (count % 254);
  return formatIp(ipv4(address));
}

/** RFC 3849. */
const DOCUMENTATION_V6 = 0x20010db8n << 96n;

const PRIVATE: readonly Prefix[] = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12'],
  ...['192.168.0.0/16', '224.0.0.0/3'],
].flatMap((text) => parsePrefix(text) ?? []);

/** An IPv6 address is public in 2000::/3. */
const isPublic = (ip: Ip): boolean =>
  isIpv4(ip) ? !PRIVATE.some((prefix) => containsAddress(prefix, ip)) : ip >> 125n === 1n;
