import { readFileSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { Script } from 'node:vm';

/** esbuild's comment where a module of a bundle begins. */
const MODULE = /^\/\/ (\S+)$/;

/**
 * V8's cache for a bundle, with every function of the modules whose paths are `wanted`. V8 compiles
 * a function at its first call, and its cache holds compiled functions only. A debugger's request
 * for the possible breakpoints of a range compiles all of it without running it.
 */
export function compileAhead(text: string, wanted: (path: string) => boolean): Buffer {
  const session = new Session();
  session.connect();
  let scriptId: string | undefined;
  const onParsed = ({ params }: { params: { scriptId: string; url: string } }) => {
    if (params.url.endsWith(NAME)) scriptId = params.scriptId;
  };
  session.on('Debugger.scriptParsed', onParsed).post('Debugger.enable');
  const script = new Script(text, { filename: NAME });
  // Makes the function that the text is. The debugger reports it.
  script.runInThisContext();
  if (scriptId === undefined) throw new Error('V8 did not report the bundle');
  for (const [from, to] of rangesOf(text.split('\n'), wanted)) {
    const start = { scriptId, lineNumber: from, columnNumber: 0 };
    const end = { scriptId, lineNumber: to, columnNumber: 0 };
    session.post('Debugger.getPossibleBreakpoints', { start, end }, (error) => {
      if (error !== null) throw error;
    });
  }
  session.post('Debugger.disable');
  session.disconnect();
  return script.createCachedData();
}

/** Not a path: the session reports paths as URLs. */
const NAME = 'compiled-ahead.cjs';

/** From the first line of a wanted module to the first of the next that is not. */
function rangesOf(lines: readonly string[], wanted: (path: string) => boolean): [number, number][] {
  const ranges: [number, number][] = [];
  let from: number | undefined;
  for (const [at, line] of lines.entries()) {
    const path = MODULE.exec(line)?.[1];
    if (path === undefined) continue;
    if (wanted(path)) from ??= at;
    else if (from !== undefined) {
      ranges.push([from, at]);
      from = undefined;
    }
  }
  if (from !== undefined) ranges.push([from, lines.length]);
  return ranges;
}

/**
 * Our own code, but for what a plain start needs little of: the messages of etcd v3, what is there for Docker's driver and for
 * questions about the network, what only other backends and changes of them need, and signed leases. All that is compiled ahead
 * is in memory from the first moment.
 */
const isOfStart = (path: string): boolean => path.startsWith('src/') && !LITTLE_NEEDED.test(path);

const LITTLE_NEEDED = new RegExp(
  `^src/(?:${[
    '(?:etcd|driver|tenant|docker|diagnose|fast-path)/',
    'backend/(?:chang|path-|prepare-change|rotation|key-pairs|wireguard|ipsec|extension|ipip|host-gw|udp|job)',
    'kernel/(?:vici/|wireguard|watched-wireguard|xfrm|endpoint-memory|namespace-numbers)',
    '(?:kernel|state)/kinds/(?:xfrm|ike-|wireguard|bpf|fast|bridge-|vni)',
    'network/(?:trust|signed|change-(?:member|progress))',
    'firewall/(?:what-|walk-|packet-|own-table|tenant)',
    'node/(?:trust-|lease-signer|key-rotation|path-|config-change|wrong-ways|way-watch|tunnel-|wireguard-|network-leftovers|clean-)',
    'node/fast-path/(?:local-containers|wire-trials|watch-wire)',
    'reconcile/(?:fast-path/|rules/drop-watch)',
    'observe/(?:driver-|health-server|openapi|leases-reply|peers-reply|view-reply)',
    'sys/(?:icmp-|child-program|x25519|ed25519)',
  ].join('|')})`,
);

if (import.meta.main) {
  const [from = '', to = ''] = process.argv.slice(2);
  writeFileSync(to, compileAhead(readFileSync(from, 'latin1'), isOfStart));
}
