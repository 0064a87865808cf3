import type { NetworkAnswer } from '#src/cli/ask-networks.ts';

/** The answer as it is; of several networks a list, each with its name. */
export function jsonOf<T>(
  networks: readonly NetworkAnswer<T>[],
  map: (answer: T) => T = (answer) => answer,
): unknown {
  const [first, ...more] = networks;
  if (first !== undefined && more.length === 0) return map(first.answer);
  return networks.map(({ name, answer }) => ({ network: name, ...map(answer) }));
}
