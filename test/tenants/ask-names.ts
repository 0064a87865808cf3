import { Resolver } from 'node:dns/promises';

/**
 * Asks a server by c-ares, as a program in a container does: `ask-names.ts SERVER TYPE NAME MS`, and prints the answer, or the
 * error's code, as JSON. It asks twice, and waits for each answer so many milliseconds.
 */
const [server = '', type = '', name = '', ms = ''] = process.argv.slice(2);
const resolver = new Resolver({ timeout: Number(ms), tries: 2 });
resolver.setServers([server]);
const answer =
  type === 'PTR' ? resolver.reverse(name) : resolver.resolve(name, type as 'A' | 'AAAA' | 'MX' | 'ANY');
console.log(JSON.stringify(await answer.catch((error: { readonly code: string }) => error.code)));
