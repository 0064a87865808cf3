import { VERSION } from '#src/lib/version.ts';
import { FastPathUsers } from '#src/node/fast-path/fast-path-users.ts';
import { fastPathNote } from '#src/node/network-id.ts';
import { type CleanRequest, findNetworkLeftovers } from '#src/node/network-leftovers.ts';
import type { HostComponents } from '#src/node/shared-host.ts';
import { FILTER_PRIORITY } from '#src/reconcile/fast-path/clsact-hooks.ts';
import { pinName } from '#src/reconcile/fast-path/tcx-hooks.ts';
import type { Step } from '#src/reconcile/rules/firewall.ts';
import { HOOK_DIRECTION } from '#src/state/kinds/fast-hook.ts';
import { commandOf, type Operation } from '#src/state/operation.ts';

/**
 * A POSIX shell script that removes what {@link cleanHost} would remove now, for when weft is not there any more. It wants
 * the programs that it names: ip, and iptables or nft. What is gone by then is no failure, and it removes nothing while a
 * flanneld runs: what is there then is that flanneld's. Throws WeftError `running` as cleanHost does.
 */
export async function cleanScript(
  components: HostComponents,
  request: CleanRequest,
  signal: AbortSignal,
): Promise<string> {
  const found = await findNetworkLeftovers(components, request);
  const lines = found.operations.flatMap(({ verb, object }) => linesOf({ verb, object }));
  for (const { firewall, bare } of found.rules) {
    lines.push(...(await firewall.removal(bare, signal)).map(ruleLines));
  }
  lines.push(...found.tables.map((table) => `try nft delete table ${table}`));
  if (request.what === 'all') {
    const { tenantLeftovers } = await import('#src/node/clean-tenants.ts');
    for (const { find } of tenantLeftovers(components, request.options, signal)) {
      lines.push(...(await find()).map((command) => `try ${command}`));
    }
  }
  if (request.what === 'all') {
    const users = new FastPathUsers(components.files, fastPathNote(request.options));
    lines.push(...(await users.leftovers()).map((command) => `try ${command}`));
  }
  lines.push(...found.files.map((path) => `try rm ${quoted(path)}`));
  return [HEAD, ...(lines.length === 0 ? [] : [START, ...lines, END])].join('\n');
}

/** The programs of a fast path go with what keeps them: a file of each, or a filter at weft's own place. Maps go with them. */
function linesOf(operation: Operation): string[] {
  const { object } = operation;
  if (object.kind === 'fast-path') return [];
  if (object.kind !== 'fast-hook') return [`try ${commandOf(operation)}`];
  const { set, program, device } = object;
  const place = `dev ${device} ${HOOK_DIRECTION[program]} pref ${FILTER_PRIORITY}`;
  return [
    `for pin in /sys/fs/bpf/weft/*/${pinName(set)}/${program}@${pinName(device)}; do try rm "$pin"; done`,
    `tc filter del ${place} 2>/dev/null`,
  ];
}

/**
 * One transaction. iptables' programs refuse one about rules that are gone in words that differ; so they are asked only
 * while the chain is there that it is about.
 */
function ruleLines({ command, input }: Step): string {
  const transaction = `try ${command.join(' ')} <<'END'\n${input.trimEnd()}\nEND`;
  const chain = /^:(\S+) /m.exec(input)?.[1];
  if (chain === undefined) return transaction;
  const save = command[0].replace(/-restore$/, '-save');
  return `if ${save} 2>/dev/null | grep -q '^:${chain} '; then\n${transaction}\nfi`;
}

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

const HEAD = `#!/bin/sh
# Removes what flanneld made on this host, without weft: what "weft cleanup" of weft ${VERSION} would have removed
# when it wrote this. To be run as root. The exit code is 1 when something is left.
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
failed=0
trap 'exit "$failed"' EXIT

# Runs a command and prints it. What it was to remove may be gone.
try() {
  if answer=$("$@" 2>&1); then
    echo "$*"
    return
  fi
  case "$answer" in
    *'No such '* | *'Cannot find '* | *'does not exist'*) ;;
    *) echo "could not run $*: $answer" >&2 && failed=1 ;;
  esac
}

# Whether a flanneld runs here, from a package or from a checkout.
is_running() {
  for list in $(grep -lzE '(^|/)flanneld(\\.ts)?$' /proc/[0-9]*/cmdline 2>/dev/null); do
    process=\${list%/cmdline}
    [ "$(readlink "$process/ns/net")" = "$(readlink /proc/self/ns/net)" ] || continue
    words=$(tr '\\000' '\\n' <"$list")
    case "$words" in
      */flanneld.ts*) return 0 ;;
    esac
    first=$(echo "$words" | head -n 1)
    [ "\${first##*/}" != flanneld ] || return 0
  done
  return 1
}
`;

const START = `running=no
if is_running; then
  running=yes failed=1
  echo 'flanneld runs on this host: what it made is left; stop it first' >&2
else`;
const END = 'fi\n';
