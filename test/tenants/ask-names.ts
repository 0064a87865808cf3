import { Resolver } from 'node:dns/promises';

/**
 * Asks a server by c-ares, as a program in a container does: `ask-names.ts SERVER TYPE NAME`, and prints the answer, or the
 * error's code, as JSON.
 */
const [server = '', type = '', name = ''] = process.argv.slice(2);
const resolver = new Resolver({ timeout: 1_000, tries: 2 });
resolver.setServers([server]);
const answer =
  type === 'PTR' ? resolver.reverse(name) : resolver.resolve(name, type as 'A' | 'AAAA' | 'MX' | 'ANY');
console.log(JSON.stringify(await answer.catch((error: { readonly code: string }) => error.code)));
