import { known } from '#src/diagnose/facts/fact.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import { hasAddress } from '#src/diagnose/known-families.ts';
import type { Link } from '#src/state/object.ts';

/** The device with an address of this host's subnet, as `--bip` gives it to docker0; `undefined` where there is none. */
export function containerBridge(facts: HostFacts): Link | undefined {
  const { subnets, backend } = known(facts.network);
  const holder = facts.addresses.find(
    ({ prefix, device }) => hasAddress(subnets, prefix.address) && !backend?.devices.includes(device),
  );
  return facts.links.find(({ name }) => name === holder?.device);
}
