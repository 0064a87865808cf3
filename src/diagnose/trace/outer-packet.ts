import type { Eye } from '#src/diagnose/trace/eye.ts';
import { filterStep, SOURCE_REFUSED } from '#src/diagnose/trace/forward-steps.ts';
import type { Finding } from '#src/diagnose/trace/hop.ts';
import type { Steps } from '#src/diagnose/trace/local-host.ts';
import { decisionText, linkCalled, wayOut } from '#src/diagnose/trace/step-texts.ts';
import { underlayStep } from '#src/diagnose/trace/tunnel-steps.ts';
import { formatIp, type Ip } from '#src/lib/ip.ts';
import type { Link } from '#src/state/object.ts';

/** From the tunnel's end onto the wire: the outer packet is the host's own. */
export async function* leaveByUnderlay(
  {
    eye,
    underlay,
    links,
  }: { readonly eye: Eye; readonly underlay: string | undefined; readonly links: readonly Link[] },
  { to, mac, tunnel }: { readonly to: Ip; readonly mac: string; readonly tunnel: NonNullable<Link['vxlan']> },
): Steps {
  const decision = await eye.route({ to });
  const out = wayOut(decision);
  yield underlayStep(to, decision, linkCalled(links, out), underlay);
  const { vni, port, local } = tunnel;
  const source = local ?? (decision.outcome === 'way' ? decision.source : undefined);
  if (out !== undefined && source !== undefined) {
    yield filterStep('output-filter', "the host's packet filter lets the wrapped packet out", {
      ...{ from: source, to, by: '', out, state: 'new', carries: { protocol: 'udp', port } },
      filters: await eye.filters(),
    });
  }
  const from = source === undefined ? {} : { from: formatIp(source) };
  return { kind: 'tunnel', ...from, to: formatIp(to), mac, vni, port };
}

/** The outer packet is for the host itself. */
export async function* inputStep(
  eye: Eye,
  {
    sender,
    underlay,
    port,
  }: {
    readonly sender: Ip | undefined;
    readonly underlay: { readonly name: string; readonly address: Ip } | undefined;
    readonly port: number;
  },
): AsyncGenerator<Finding, void, void> {
  if (sender === undefined || underlay === undefined) return;
  const question = { to: underlay.address, from: sender, by: underlay.name };
  const decision = await eye.route(question);
  if (decision.outcome === 'refused' && SOURCE_REFUSED.includes(decision.errno)) {
    const [from, device] = [formatIp(sender), underlay.name];
    yield {
      id: 'input-filter',
      about: 'the host accepts the wrapped packet from where it comes',
      command: `ip route get ${formatIp(underlay.address)} from ${from} iif ${device}`,
      found: [decisionText(decision)],
      expected: `${from} accepted as a source on ${device}`,
      ok: false,
      remedy: `this host's way to ${from} does not lead by ${device}: see "ip route get ${from}", or loosen the check: sysctl -w net.ipv4.conf.${device}.rp_filter=2`,
    };
    return;
  }
  yield filterStep('input-filter', "the host's packet filter lets the wrapped packet in", {
    ...{ from: sender, to: underlay.address, by: underlay.name, out: '', state: 'new' },
    carries: { protocol: 'udp', port },
    filters: await eye.filters(),
  });
}
