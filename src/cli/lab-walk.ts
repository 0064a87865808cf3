import type { Output } from '#src/cli/terminal.ts';
import type { Container } from '#src/lab/container.ts';
import type { Lab } from '#src/lab/lab.ts';
import { allContainers, containerCalled, networkOf } from '#src/lab/reach.ts';
import { type Walk, walkBetween } from '#src/lab/walk.ts';
import { WeftError } from '#src/lib/errors.ts';
import { artefactsOf } from '#src/node/network-id.ts';

/** The network of a lab, and flanneld's defaults on its hosts. */
const PLACE = artefactsOf(
  { prefix: '/coreos.com/network' },
  { stateDir: '/var/lib/weft', subnetFile: '/run/flannel/subnet.env' },
);

/** `weft lab walk`: 0 when the packet arrived, and its answer came back. */
export async function labWalk(
  lab: Lab,
  { names, json }: { readonly names: readonly string[]; readonly json: boolean },
  output: Output,
): Promise<number> {
  const [from, to] = await choose(lab, names);
  const walk = await walkBetween(from, to, PLACE);
  if (json) output.print(JSON.stringify(walk.hops));
  else for (const line of format(from, to, walk)) output.print(line);
  return walk.lost === undefined && walk.hops.every((hop) => hop.ok) ? 0 : 1;
}

async function choose(lab: Lab, [fromName, toName]: readonly string[]): Promise<[Container, Container]> {
  const all = await allContainers(lab);
  const from = fromName === undefined ? all[0] : await containerCalled(lab, fromName);
  const to =
    toName === undefined
      ? all.find((it) => it.host !== from?.host && it.network === from?.network)
      : await containerCalled(lab, toName);
  if (from === undefined || to === undefined) {
    throw new WeftError('lab-walk', `lab ${lab.name} has no containers on two hosts to walk between`);
  }
  if (from.network !== to.network) {
    throw new WeftError('lab-walk', `there is no way from ${from.name} to ${to.name}`, {
      remedy: `they are in the networks ${networkOf(from)} and ${networkOf(to)}: choose two of one`,
    });
  }
  return [from, to];
}

const WRAPPED = [
  'The network between the hosts has no way to these addresses, so it carries the packet inside',
  'another one, from host to host. That is VXLAN.',
];
const DIRECT = ["Each host has routes to the others' containers, so the packet crosses as it is."];

function format(from: Container, to: Container, { hops, isWrapped, lost }: Walk): string[] {
  return [
    `One packet from ${from.name} (${from.address}) to ${to.name} (${to.address}).`,
    ...(isWrapped ? WRAPPED : DIRECT),
    ...hops.flatMap(({ place, about, command, seen, ok }, index) => [
      `\n${index + 1}. ${place}: ${about}`,
      ...(command === '' ? [] : [`     $ ${command}`]),
      ...seen.map((line) => `     ${line}`),
      ...(ok ? [] : ['     the packet goes no further']),
    ]),
    ...(lost === undefined
      ? []
      : [
          `\nThe packet that was sent is lost on the way ${lost.way}, at ${lost.host}: it should have been seen on ${lost.before.device}.`,
        ]),
  ];
}
